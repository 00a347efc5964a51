//! Values of flags, in the syntax of Go's `flag`, `strconv` and `time` packages.

use crate::url::Url;
use std::collections::BTreeMap;
use std::time::Duration;

/// A flag's value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Value {
    Bool(bool),
    Text(String),
    Int(i64),
    Uint(u64),
    /// Nanoseconds; negative ones can be written, and mean "off" where they are allowed.
    Duration(i64),
    Urls(Vec<Url>),
    List(Vec<String>),
    Gates(BTreeMap<String, bool>),
}

/// Why a number can't be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    Syntax,
    Range,
}

impl Fault {
    /// In the words of Go's `flag`.
    pub fn short(self) -> &'static str {
        match self {
            Self::Syntax => "parse error",
            Self::Range => "value out of range",
        }
    }

    /// In the words of Go's `strconv`.
    pub fn long(self) -> &'static str {
        match self {
            Self::Syntax => "invalid syntax",
            Self::Range => "value out of range",
        }
    }
}

/// `strconv.ParseBool`.
pub fn boolean(text: &str) -> Result<bool, String> {
    match text {
        "1" | "t" | "T" | "TRUE" | "true" | "True" => Ok(true),
        "0" | "f" | "F" | "FALSE" | "false" | "False" => Ok(false),
        _ => Err(Fault::Syntax.short().to_owned()),
    }
}

/// `strconv.ParseUint` with base 0: decimal, `0x`, `0o`, `0b`, and octal by a leading zero.
pub fn unsigned(text: &str, max: u64) -> Result<u64, Fault> {
    let lower = text.to_ascii_lowercase();
    let (digits, radix) = match lower.as_bytes() {
        [b'0', b'x', ..] => (&lower[2..], 16),
        [b'0', b'o', ..] => (&lower[2..], 8),
        [b'0', b'b', ..] => (&lower[2..], 2),
        [b'0', _, ..] => (&lower[1..], 8),
        _ => (lower.as_str(), 10),
    };
    if digits.is_empty() || !digits.chars().all(|c| c.is_digit(radix)) {
        return Err(Fault::Syntax);
    }
    match u64::from_str_radix(digits, radix) {
        Ok(number) if number <= max => Ok(number),
        _ => Err(Fault::Range),
    }
}

/// `strconv.ParseInt` with base 0.
pub fn integer(text: &str) -> Result<i64, String> {
    let (negative, digits) = match text.strip_prefix('-') {
        Some(digits) => (true, digits),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    let magnitude =
        unsigned(digits, i64::MAX as u64 + u64::from(negative)).map_err(|fault| fault.short().to_owned())?;
    Ok(if negative {
        0_i64.wrapping_sub_unsigned(magnitude)
    } else {
        magnitude as i64
    })
}

/// `time.ParseDuration`, in nanoseconds: `1h15m`, `300ms`, `1.5s`, `0`.
pub fn duration(text: &str) -> Result<i64, String> {
    parse_duration(text).ok_or_else(|| Fault::Syntax.short().to_owned())
}

fn parse_duration(text: &str) -> Option<i64> {
    let (negative, mut rest) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    if rest == "0" {
        return Some(0);
    }
    if rest.is_empty() {
        return None;
    }
    let mut total: i128 = 0;
    while !rest.is_empty() {
        let number = rest.len()
            - rest
                .trim_start_matches(|c: char| c.is_ascii_digit() || c == '.')
                .len();
        let (digits, after) = rest.split_at(number);
        let unit = after
            .find(|c: char| c.is_ascii_digit() || c == '.')
            .unwrap_or(after.len());
        let (unit, after) = after.split_at(unit);
        let scale: i128 = match unit {
            "ns" => 1,
            "us" | "µs" | "μs" => 1_000,
            "ms" => 1_000_000,
            "s" => 1_000_000_000,
            "m" => 60_000_000_000,
            "h" => 3_600_000_000_000,
            _ => return None,
        };
        total += scaled(digits, scale)?;
        rest = after;
    }
    i64::try_from(if negative { -total } else { total }).ok()
}

/// A decimal number times `scale`, cut to whole nanoseconds.
fn scaled(digits: &str, scale: i128) -> Option<i128> {
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    if (whole.is_empty() && fraction.is_empty()) || fraction.contains('.') || whole.len() > 19 {
        return None;
    }
    let mut total = scale
        * if whole.is_empty() {
            0
        } else {
            whole.parse::<i128>().ok()?
        };
    let mut place = scale;
    for digit in fraction.chars() {
        place /= 10;
        total += place * i128::from(digit.to_digit(10)?);
    }
    Some(total)
}

/// A duration that can't be negative; a negative one counts as zero.
pub fn positive(nanoseconds: i64) -> Duration {
    Duration::from_nanos(u64::try_from(nanoseconds).unwrap_or(0))
}

/// Words between commas; nothing at all is no word.
pub fn words(text: &str) -> Vec<String> {
    if text.is_empty() {
        return Vec::new();
    }
    text.split(',').map(str::to_owned).collect()
}

/// URLs between commas, in order and each once (etcd `flags.UniqueURLs`).
pub fn urls(text: &str) -> Result<Vec<Url>, String> {
    if text.is_empty() {
        return Ok(Vec::new());
    }
    let mut urls = text
        .split(',')
        .map(|one| Url::parse(one.trim()))
        .collect::<Result<Vec<_>, _>>()?;
    urls.sort();
    urls.dedup();
    Ok(urls)
}

/// `Name=true,Other=false` (etcd `pkg/featuregate`).
pub fn gates(text: &str) -> Result<BTreeMap<String, bool>, String> {
    let mut gates = BTreeMap::new();
    for pair in text.split(',').filter(|pair| !pair.is_empty()) {
        let (name, value) = match pair.split_once('=') {
            Some((name, value)) => (name.trim(), value.trim()),
            None => return Err(format!("missing bool value for {}", pair.trim())),
        };
        let value = boolean(value).map_err(|_| {
            format!(
                "invalid value of {name}={value}, err: strconv.ParseBool: parsing {value:?}: {}",
                Fault::Syntax.long()
            )
        })?;
        gates.insert(name.to_owned(), value);
    }
    Ok(gates)
}

#[cfg(test)]
mod tests {
    use super::{boolean, duration, gates, integer, unsigned, urls};

    #[test]
    fn durations_are_read_as_go_reads_them() {
        for (text, nanoseconds) in [
            ("0", 0),
            ("5s", 5_000_000_000),
            ("1h15m", 4_500_000_000_000),
            ("1.5s", 1_500_000_000),
            (".5ms", 500_000),
            ("100us", 100_000),
            ("-1s", -1_000_000_000),
            ("+2ns", 2),
        ] {
            assert_eq!(duration(text), Ok(nanoseconds), "{text}");
        }
        for text in ["", "5", "s", "1x", "1.2.3s", "--1s", "99999999999h", "."] {
            assert_eq!(duration(text), Err("parse error".to_owned()), "{text}");
        }
    }

    #[test]
    fn numbers_are_read_as_go_reads_them() {
        assert_eq!(unsigned("0x10", u64::MAX), Ok(16));
        assert_eq!(unsigned("010", u64::MAX), Ok(8));
        assert_eq!(unsigned("0", u64::MAX), Ok(0));
        assert!(unsigned("-1", u64::MAX).is_err());
        assert!(unsigned("", u64::MAX).is_err());
        assert!(unsigned("4294967296", u64::from(u32::MAX)).is_err());
        assert_eq!(integer("-9223372036854775808"), Ok(i64::MIN));
        assert_eq!(
            integer("9223372036854775808"),
            Err("value out of range".to_owned())
        );
        assert_eq!(integer("ten"), Err("parse error".to_owned()));
        assert_eq!(boolean("T"), Ok(true));
        assert!(boolean("yes").is_err());
    }

    #[test]
    fn urls_are_sorted_and_unique() {
        let urls = urls("http://b:1, http://a:1,http://b:1").expect("good URLs");
        let texts: Vec<String> = urls.iter().map(ToString::to_string).collect();
        assert_eq!(texts, ["http://a:1", "http://b:1"]);
    }

    #[test]
    fn gates_need_a_value() {
        assert_eq!(gates("A=true,B=0").expect("good").len(), 2);
        assert_eq!(gates("A"), Err("missing bool value for A".to_owned()));
        assert_eq!(
            gates("A=maybe"),
            Err(
                "invalid value of A=maybe, err: strconv.ParseBool: parsing \"maybe\": invalid syntax"
                    .to_owned()
            )
        );
    }
}
