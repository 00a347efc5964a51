//! Arguments, read as Go's `flag` package reads them: `-name`, `--name`, `--name=value`, `--name value`;
//! a switch stands alone and takes its value only behind `=`; the first word that is no flag ends them.

use crate::catalogue;
use crate::settings::{Settings, Source};

/// Why the arguments can't be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ArgumentError {
    /// `-h` or `--help`.
    #[error("help requested")]
    Help,
    #[error("{0}")]
    Bad(String),
}

/// Reads flags into settings; returns the words behind them.
///
/// # Errors
/// At the first flag that is unknown or has a bad value, in Go's words.
pub fn parse<'a>(arguments: &'a [String], settings: &mut Settings) -> Result<&'a [String], ArgumentError> {
    let mut rest = arguments;
    while let [argument, after @ ..] = rest {
        if argument == "--" {
            return Ok(after);
        }
        let name = match argument.strip_prefix("--").or_else(|| argument.strip_prefix('-')) {
            Some(name) if !name.is_empty() => name,
            _ => return Ok(rest),
        };
        if name.starts_with(['-', '=']) {
            return Err(bad(format!("bad flag syntax: {argument}")));
        }
        let (name, value) = match name.split_once('=') {
            Some((name, value)) => (name, Some(value)),
            None => (name, None),
        };
        rest = after;
        let Some(flag) = catalogue::find(name) else {
            return Err(if matches!(name, "h" | "help") {
                ArgumentError::Help
            } else {
                bad(format!("flag provided but not defined: -{name}"))
            });
        };
        let value = match (value, after) {
            (Some(value), _) => value,
            (None, _) if flag.stands_alone() => "true",
            (None, [value, after @ ..]) => {
                rest = after;
                value
            }
            (None, []) => return Err(bad(format!("flag needs an argument: -{name}"))),
        };
        settings.set(flag, value, Source::Flag).map_err(|reason| {
            bad(if flag.kind == crate::flag::Kind::Bool {
                format!("invalid boolean value {value:?} for -{name}: {reason}")
            } else {
                format!("invalid value {value:?} for flag -{name}: {reason}")
            })
        })?;
    }
    Ok(rest)
}

fn bad(text: String) -> ArgumentError {
    ArgumentError::Bad(text)
}

#[cfg(test)]
mod tests {
    use super::{ArgumentError, parse};
    use crate::settings::Settings;
    use crate::value::Value;

    fn read(arguments: &[&str]) -> Result<(Settings, Vec<String>), ArgumentError> {
        let arguments: Vec<String> = arguments.iter().map(|a| (*a).to_owned()).collect();
        let mut settings = Settings::default();
        let rest = parse(&arguments, &mut settings)?.to_vec();
        Ok((settings, rest))
    }

    #[test]
    fn every_spelling_of_go_is_taken() {
        for spelling in [
            &["--name", "m1"][..],
            &["-name", "m1"],
            &["--name=m1"],
            &["-name=m1"],
        ] {
            let (settings, rest) = read(spelling).expect("good flags");
            assert_eq!(settings.text("name"), "m1");
            assert!(rest.is_empty());
        }
    }

    #[test]
    fn a_switch_takes_no_word_behind_it() {
        let (settings, rest) = read(&["--client-cert-auth", "false"]).expect("good flags");
        assert!(settings.bool("client-cert-auth"));
        assert_eq!(rest, ["false"]);
        let (settings, _) = read(&["--strict-reconfig-check=false"]).expect("good flags");
        assert!(!settings.bool("strict-reconfig-check"));
    }

    #[test]
    fn a_flag_may_be_repeated_and_the_last_one_counts() {
        let (settings, _) = read(&["--name=a", "--name=b"]).expect("good flags");
        assert_eq!(settings.text("name"), "b");
    }

    #[test]
    fn the_first_other_word_ends_the_flags() {
        let (_, rest) = read(&["--name=a", "snapshot", "--name=b"]).expect("good flags");
        assert_eq!(rest, ["snapshot", "--name=b"]);
        let (_, rest) = read(&["--name=a", "--", "--name=b"]).expect("good flags");
        assert_eq!(rest, ["--name=b"]);
    }

    #[test]
    fn faults_are_told_in_the_words_of_go() {
        let fault = |arguments: &[&str]| read(arguments).expect_err("a fault").to_string();
        assert_eq!(fault(&["--nmae=x"]), "flag provided but not defined: -nmae");
        assert_eq!(fault(&["--name"]), "flag needs an argument: -name");
        assert_eq!(fault(&["---name"]), "bad flag syntax: ---name");
        assert_eq!(
            fault(&["--auto-tls=yes"]),
            "invalid boolean value \"yes\" for -auto-tls: parse error"
        );
        assert_eq!(
            fault(&["--heartbeat-interval", "fast"]),
            "invalid value \"fast\" for flag -heartbeat-interval: parse error"
        );
        assert_eq!(
            fault(&["--initial-cluster-state=old"]),
            "invalid value \"old\" for flag -initial-cluster-state: invalid value"
        );
        assert_eq!(
            fault(&["--listen-client-urls=localhost:2379"]),
            "invalid value \"localhost:2379\" for flag -listen-client-urls: URL scheme must be http, https, \
             unix, or unixs: localhost:2379"
        );
        assert_eq!(
            fault(&["--max-concurrent-streams=-1"]),
            "invalid value \"-1\" for flag -max-concurrent-streams: strconv.ParseUint: parsing \"-1\": \
             invalid syntax"
        );
        assert_eq!(read(&["-h"]).expect_err("help"), ArgumentError::Help);
    }

    #[test]
    fn an_older_name_sets_the_newer_flag() {
        let (settings, _) = read(&["--experimental-watch-progress-notify-interval=5s"]).expect("good flags");
        assert_eq!(
            settings.get("watch-progress-notify-interval"),
            Value::Duration(5_000_000_000)
        );
        let (settings, _) = read(&["--experimental-initial-corrupt-check"]).expect("good flags");
        assert!(settings.gate("InitialCorruptCheck"));
    }
}
