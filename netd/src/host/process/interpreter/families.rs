//! The interpreters that are known, and how each reads its command line.

/// How a family of interpreters reads its command line.
pub(super) struct Family {
    pub(super) names: &'static [&'static str],
    /// Short options that carry a program: `-c COMMAND`.
    pub(super) code: &'static str,
    /// Long ones, or those with one dash.
    pub(super) long_code: &'static [&'static str],
    /// Short options that name what lies in a file: `-m MODULE`, `-f FILE`.
    pub(super) file: &'static str,
    /// Short options with a value, in the same argument or the next.
    pub(super) value: &'static str,
    /// Short options that take the rest of their argument, never the next.
    pub(super) attached: &'static str,
    /// Long ones whose value is the next argument.
    pub(super) long_value: &'static [&'static str],
    /// The first operand is a program, not a file.
    pub(super) is_inline: bool,
}

const PLAIN: Family = Family {
    names: &[],
    code: "",
    long_code: &[],
    file: "",
    value: "",
    attached: "",
    long_value: &[],
    is_inline: false,
};

pub(super) const FAMILIES: [Family; 14] = [
    Family {
        names: &["sh", "bash", "dash", "ash", "zsh", "ksh", "mksh", "lksh", "pdksh", "yash", "posh", "rbash", "hush"],
        code: "cs",
        value: "oO",
        long_value: &["--rcfile", "--init-file"],
        ..PLAIN
    },
    Family { names: &["csh", "tcsh"], code: "cs", ..PLAIN },
    Family {
        names: &["fish", "elvish", "nu", "xonsh"],
        code: "c",
        long_code: &["--command", "--commands"],
        value: "CdfD",
        long_value: &["--init-command", "--config", "--env-config", "--rc"],
        ..PLAIN
    },
    Family {
        names: &["python", "pypy"],
        code: "c",
        file: "m",
        value: "WX",
        long_value: &["--check-hash-based-pycs"],
        ..PLAIN
    },
    Family { names: &["perl"], code: "eE", value: "I", attached: "MmxiDCF", ..PLAIN },
    Family { names: &["ruby", "jruby"], code: "e", value: "rICE", attached: "KxiF", ..PLAIN },
    Family {
        names: &["php"],
        code: "rRBEa",
        long_code: &["--run", "--process-code", "--process-begin", "--process-end", "--interactive"],
        file: "fFSsliv",
        value: "dczt",
        long_value: &["--define", "--php-ini", "--zend-extension", "--docroot"],
        ..PLAIN
    },
    Family { names: &["lua", "luajit"], code: "e", value: "l", ..PLAIN },
    Family {
        names: &["node", "nodejs", "bun", "qjs"],
        code: "ep",
        long_code: &["--eval", "--print", "eval", "repl"],
        value: "rC",
        long_value: &["--require", "--import", "--loader", "--experimental-loader", "--conditions", "--env-file"],
        ..PLAIN
    },
    Family { names: &["deno"], long_code: &["eval", "repl"], ..PLAIN },
    Family {
        names: &["awk", "gawk", "mawk", "nawk", "original-awk"],
        code: "e",
        file: "fE",
        value: "vFi",
        long_value: &["--assign"],
        is_inline: true,
        ..PLAIN
    },
    Family { names: &["tclsh", "wish", "expect", "guile"], code: "c", file: "f", ..PLAIN },
    Family {
        names: &["julia", "rscript", "r", "erl", "elixir"],
        code: "eE",
        long_code: &["--eval", "-eval"],
        value: "Lp",
        ..PLAIN
    },
    Family {
        names: &["pwsh", "powershell"],
        long_code: &["-c", "-command", "-e", "-ec", "-enc", "-encodedcommand"],
        long_value: &["-executionpolicy", "-ep", "-workingdirectory", "-version"],
        ..PLAIN
    },
];
