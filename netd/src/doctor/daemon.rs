//! How the running daemon is, by its own word.

use serde_json::Value;

use super::{Answer, Check};

pub(super) fn checks(status: &Answer) -> Vec<Check> {
    let status = match status {
        Ok(status) => status,
        Err(why) => {
            let first = why.lines().next().unwrap_or_default();
            return vec![Check::warn("daemon", first, "start it: sudo netd run; its unit: systemctl start netd")];
        }
    };
    let mut checks = vec![ready(status)];
    checks.push(mode(status));
    checks.extend(list(status, "degraded").map(|lack| {
        let found = format!("{}: {}", text(&lack["what"]), text(&lack["why"]));
        Check::warn("degraded", found, text(&lack["consequence"]))
    }));
    checks.push(losses(status));
    checks.push(privileges(status));
    checks.push(audit(status));
    checks
}

fn ready(status: &Value) -> Check {
    let reasons: Vec<String> = list(status, "not_ready").map(text).collect();
    match reasons.is_empty() {
        true => Check::ok("daemon", format!("netd {}, {} s up", text(&status["version"]), text(&status["uptime_s"]))),
        false => Check::fail("daemon", format!("not ready: {}", reasons.join("; ")), "see its log"),
    }
}

fn mode(status: &Value) -> Check {
    let (requested, effective) = (text(&status["mode"]["requested"]), text(&status["mode"]["effective"]));
    if status["kill_switch"] == true {
        let found = format!("kill switch ON: everything passes ({requested} asked for)");
        return Check::warn("mode", found, "netd kill-switch off makes it act again");
    }
    for field in ["unsaved", "out_of_step"] {
        if !status[field].is_null() {
            return Check::warn(
                "mode",
                format!("{effective}; {field}: {}", text(&status[field])),
                "see its log; it tries again",
            );
        }
    }
    Check::ok("mode", effective)
}

fn losses(status: &Value) -> Check {
    let lost: Vec<String> = list(status, "losses")
        .filter(|loss| loss["lost"].as_u64().is_some_and(|lost| lost > 0))
        .map(|loss| format!("{} {}", text(&loss["stage"]), text(&loss["lost"])))
        .collect();
    match lost.is_empty() {
        true => Check::ok("losses", "none since the start"),
        false => Check::warn("losses", lost.join(", "), "larger limits, or fewer interfaces, in the configuration"),
    }
}

fn privileges(status: &Value) -> Check {
    let held = &status["privileges"];
    let names: Vec<String> = list(held, "capabilities").map(|held| text(&held["name"])).collect();
    let names = if names.is_empty() { "no capability".to_owned() } else { names.join(" ") };
    let kills = if status["api_kill"]["allowed"] == true { "; the API may kill processes of findings" } else { "" };
    match text(&held["level"]).as_str() {
        "keep" => {
            Check::warn("held", "everything that netd was started with", "privileges = \"drop\" in the configuration")
        }
        _ => Check::ok("held", format!("{names}{kills}")),
    }
}

fn audit(status: &Value) -> Check {
    let audit = &status["audit"];
    let error = &audit["error"];
    if error.is_null() {
        return Check::ok("audit", format!("{} records", text(&audit["seq"])));
    }
    Check::fail("audit", text(error), "until it can be written nothing more is cut; unblocking works")
}

fn list<'v>(value: &'v Value, field: &str) -> impl Iterator<Item = &'v Value> + use<'v> {
    value[field].as_array().into_iter().flatten()
}

fn text(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::doctor::{Grade, worst};

    fn healthy() -> Value {
        json!({
            "version": "1", "uptime_s": 5, "not_ready": [], "degraded": [], "kill_switch": false,
            "mode": {"requested": "enforce", "effective": "enforce"}, "unsaved": null, "out_of_step": null,
            "losses": [{"stage": "x", "lost": 0}], "privileges": {"level": "drop", "capabilities": []},
            "audit": {"seq": 3, "error": null},
        })
    }

    #[test]
    fn that_the_api_may_kill_is_told_with_what_is_held() {
        let mut status = healthy();
        status["api_kill"] = json!({"allowed": true, "why_not": null});

        assert_eq!(privileges(&status).found, "no capability; the API may kill processes of findings");
        assert_eq!(privileges(&healthy()).found, "no capability");
    }

    #[test]
    fn a_healthy_daemon_is_ok_and_each_fault_is_graded() {
        assert_eq!(worst(&checks(&Ok(healthy()))), Grade::Ok);
        let faults = [
            ("kill_switch", json!(true), Grade::Warn),
            ("losses", json!([{"stage": "x", "lost": 2}]), Grade::Warn),
            ("unsaved", json!("disk full"), Grade::Warn),
            ("not_ready", json!(["no interface"]), Grade::Fail),
            ("audit", json!({"error": "no space"}), Grade::Fail),
            ("privileges", json!({"level": "keep"}), Grade::Warn),
            ("degraded", json!([{"what": "XDP", "why": "y", "consequence": "z"}]), Grade::Warn),
        ];
        for (field, fault, grade) in faults {
            let mut status = healthy();
            status[field] = fault;
            assert_eq!(worst(&checks(&Ok(status))), grade, "{field}");
        }
        assert_eq!(worst(&checks(&Err("not running".into()))), Grade::Warn);
    }
}
