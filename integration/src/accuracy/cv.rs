//! The rule of several eBPF agents: three connections within five minutes, and intervals that vary by less than 30 %.

use std::collections::VecDeque;

use super::connection::Connection;

const WITHIN_S: f64 = 300.0;
const LEAST: usize = 3;
const MOST_CV: f64 = 0.3;

/// Returns when the rule first alerts on a pair's connections, given in the order of their beginnings.
#[must_use]
pub(crate) fn first_alert_s(connections: &[Connection]) -> Option<f64> {
    let mut recent = VecDeque::new();
    for connection in connections {
        recent.push_back(connection.start_s);
        while recent.front().is_some_and(|start| connection.start_s - start > WITHIN_S) {
            recent.pop_front();
        }
        if recent.len() >= LEAST && variation(&recent) < MOST_CV {
            return Some(connection.start_s);
        }
    }
    None
}

/// Standard deviation of the intervals over their mean.
fn variation(starts: &VecDeque<f64>) -> f64 {
    let gaps = || starts.iter().zip(starts.iter().skip(1)).map(|(before, after)| after - before);
    let count = (starts.len() - 1) as f64;
    let mean = gaps().sum::<f64>() / count;
    let variance = gaps().map(|gap| (gap - mean).powi(2)).sum::<f64>() / count;
    // Connections of one moment have no interval.
    if mean > 0.0 { variance.sqrt() / mean } else { f64::INFINITY }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn alert(starts: &[f64]) -> Option<f64> {
        let one = |start: &f64| Connection { start_s: *start, end_s: *start, bytes: 1 };
        first_alert_s(&starts.iter().map(one).collect::<Vec<_>>())
    }

    #[test]
    fn three_even_connections_alert() {
        assert_eq!(alert(&[0.0, 60.0, 120.0]), Some(120.0));
    }

    /// Gaps 50 and 100: mean 75, deviation 25, CV 1/3. Then 50, 100, 75: mean 75, deviation sqrt(1250 / 3), CV 0.27.
    #[test]
    fn the_third_interval_may_decide() {
        assert_eq!(alert(&[0.0, 50.0, 150.0, 225.0]), Some(225.0));
    }

    #[test]
    fn a_timer_of_more_than_150_s_is_never_seen() {
        assert_eq!(alert(&[0.0, 160.0, 320.0, 480.0, 640.0]), None);
    }
}
