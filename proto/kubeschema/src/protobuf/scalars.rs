//! Values whose JSON form is not their wire form: times, quantities, int-or-string, durations.

use super::ProtobufError;
use super::reader::{Item, Reader};
use super::writer;
use crate::time;
use serde_json::{Number, Value};

/// `{1: seconds, 2: nanos}`; an empty message is the zero time.
pub(super) fn read_time(bytes: &[u8], micros: bool) -> Result<Option<Value>, ProtobufError> {
    if bytes.is_empty() {
        return Ok(None);
    }
    let (mut seconds, mut nanos) = (0_i64, 0_u32);
    let mut reader = Reader::new(bytes);
    while let Some((number, item)) = reader.next()? {
        match (number, item) {
            (1, Item::Varint(v)) => seconds = v as i64,
            (2, Item::Varint(v)) => nanos = (v as i32).clamp(0, 999_999_999) as u32,
            _ => {}
        }
    }
    let text = if micros {
        time::format_micros(seconds, nanos)
    } else {
        time::format_seconds(seconds)
    };
    Ok(text.map(Value::String))
}

pub(super) fn write_time(out: &mut Vec<u8>, text: &str, micros: bool) -> Option<()> {
    let (seconds, nanos) = time::parse_rfc3339(text)?;
    writer::varint_field(out, 1, seconds as u64);
    let nanos = if micros { nanos / 1000 * 1000 } else { 0 };
    writer::varint_field(out, 2, u64::from(nanos));
    Some(())
}

/// `{1: text}`; an empty text is the zero quantity.
pub(super) fn read_quantity(bytes: &[u8]) -> Result<Value, ProtobufError> {
    let mut text = String::new();
    let mut reader = Reader::new(bytes);
    while let Some((number, item)) = reader.next()? {
        if let (1, Item::Bytes(value)) = (number, item) {
            text = String::from_utf8_lossy(value).into_owned();
        }
    }
    if text.is_empty() {
        text.push('0');
    }
    Ok(Value::String(text))
}

/// `{1: kind (0 int, 1 string), 2: int, 3: string}`.
pub(super) fn read_int_or_string(bytes: &[u8]) -> Result<Value, ProtobufError> {
    let (mut is_text, mut number_value, mut text) = (false, 0_i32, String::new());
    let mut reader = Reader::new(bytes);
    while let Some((number, item)) = reader.next()? {
        match (number, item) {
            (1, Item::Varint(v)) => is_text = v != 0,
            (2, Item::Varint(v)) => number_value = v as i32,
            (3, Item::Bytes(v)) => text = String::from_utf8_lossy(v).into_owned(),
            _ => {}
        }
    }
    Ok(if is_text {
        Value::String(text)
    } else {
        number_value.into()
    })
}

pub(super) fn write_int_or_string(out: &mut Vec<u8>, value: &Value) -> Option<()> {
    let (kind, number, text) = match value {
        Value::String(text) => (1, 0, text.as_str()),
        Value::Number(n) => (0, i32::try_from(integer(n)?).ok()?, ""),
        _ => return None,
    };
    writer::varint_field(out, 1, kind);
    writer::varint_field(out, 2, i64::from(number) as u64);
    writer::bytes_field(out, 3, text.as_bytes());
    Some(())
}

/// `{1: nanoseconds}`.
pub(super) fn read_duration(bytes: &[u8]) -> Result<Value, ProtobufError> {
    let mut nanos = 0_i64;
    let mut reader = Reader::new(bytes);
    while let Some((number, item)) = reader.next()? {
        if let (1, Item::Varint(v)) = (number, item) {
            nanos = v as i64;
        }
    }
    Ok(Value::String(format_duration(nanos)))
}

/// Go's `time.Duration.String`.
fn format_duration(nanos: i64) -> String {
    let sign = if nanos < 0 { "-" } else { "" };
    let all = nanos.unsigned_abs();
    let fraction = |whole: u64, rest: u64, digits: usize, unit: &str| {
        let text = format!("{whole}.{rest:0digits$}");
        format!("{}{unit}", text.trim_end_matches('0').trim_end_matches('.'))
    };
    let seconds = all / 1_000_000_000;
    let text = match all {
        0 => "0s".to_owned(),
        1..=999 => format!("{all}ns"),
        1_000..=999_999 => fraction(all / 1000, all % 1000, 3, "µs"),
        1_000_000..=999_999_999 => fraction(all / 1_000_000, all % 1_000_000, 6, "ms"),
        _ => {
            let mut text = String::new();
            if seconds >= 3600 {
                text += &format!("{}h", seconds / 3600);
            }
            if seconds >= 60 {
                text += &format!("{}m", seconds / 60 % 60);
            }
            text + &fraction(seconds % 60, all % 1_000_000_000, 9, "s")
        }
    };
    format!("{sign}{text}")
}

/// Go's `time.ParseDuration`, in nanoseconds.
pub(super) fn parse_duration(text: &str) -> Option<i64> {
    let (negative, mut rest) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    if rest == "0" {
        return Some(0);
    }
    let mut total = 0_f64;
    let mut parts = 0;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let value: f64 = rest[..digits].parse().ok()?;
        rest = &rest[digits..];
        let units = [
            ("ns", 1.0),
            ("us", 1e3),
            ("µs", 1e3),
            ("ms", 1e6),
            ("s", 1e9),
            ("m", 6e10),
            ("h", 3.6e12),
        ];
        let (unit, scale) = units.iter().find(|(unit, _)| rest.starts_with(unit))?;
        total += value * scale;
        rest = &rest[unit.len()..];
        parts += 1;
    }
    let total = if negative { -total } else { total };
    (parts > 0 && total.abs() < 9.2e18).then_some(total as i64)
}

/// A whole number, also when it is written as a float.
pub(super) fn integer(number: &Number) -> Option<i64> {
    number.as_i64().or_else(|| {
        let float = number.as_f64()?;
        (float.fract() == 0.0 && float.abs() < 9.2e18).then_some(float as i64)
    })
}

/// Whole floats are written without a fraction, as Go does.
pub(super) fn float(value: f64) -> Option<Value> {
    if value.fract() == 0.0 && value.abs() < 1e15 {
        return Some(Value::from(value as i64));
    }
    Number::from_f64(value).map(Value::Number)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_read_and_print_as_in_go() {
        for text in [
            "0s", "1h2m3s", "1m0s", "1.5s", "300ms", "-2h0m0s", "10ns", "1.5µs",
        ] {
            assert_eq!(format_duration(parse_duration(text).expect(text)), text);
        }
        assert_eq!(parse_duration("abc"), None);
        assert_eq!(parse_duration(""), None);
    }
}
