//! Amounts of resources: `100m`, `1.5Gi`, `2e3`.
//!
//! Follows `apimachinery/pkg/api/resource/{quantity,suffix}.go` (1.36): exact down to 1e-9 (what is finer is rounded
//! up), printed in the canonical form of the notation it was read in.

use std::cmp::Ordering;
use std::fmt;
use std::ops::{Add, Sub};
use std::str::FromStr;

use serde_json::Value;

const NANO: i128 = 1_000_000_000;

/// The notation of a quantity.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Format {
    /// `n u m`, none, `k M G T P E`.
    #[default]
    DecimalSi,
    /// `Ki Mi Gi Ti Pi Ei`.
    BinarySi,
    /// `e3`, `E6`.
    DecimalExponent,
}

/// An amount, exact in billionths.
#[derive(Clone, Copy, Debug, Default)]
pub struct Quantity {
    nanos: i128,
    format: Format,
}

/// Why a text is no quantity.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ParseQuantityError {
    #[error("quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'")]
    Format,
    #[error("unable to parse numeric part of quantity")]
    Numeric,
    #[error("unable to parse quantity's suffix")]
    Suffix,
}

impl Quantity {
    pub fn from_int(value: i64) -> Self {
        Self {
            nanos: i128::from(value) * NANO,
            format: Format::DecimalSi,
        }
    }

    pub fn from_milli(value: i64) -> Self {
        Self {
            nanos: i128::from(value) * (NANO / 1000),
            format: Format::DecimalSi,
        }
    }

    /// From a string or number of an object.
    ///
    /// # Errors
    /// It is no quantity.
    pub fn from_value(value: &Value) -> Result<Self, ParseQuantityError> {
        match value {
            Value::String(text) => text.parse(),
            Value::Number(number) => number.to_string().parse(),
            _ => Err(ParseQuantityError::Format),
        }
    }

    /// In whole units, rounded up.
    pub fn value(&self) -> i64 {
        saturate(div_up(self.nanos, NANO))
    }

    /// In thousandths, rounded up.
    pub fn milli_value(&self) -> i64 {
        saturate(div_up(self.nanos, NANO / 1000))
    }

    pub fn is_zero(&self) -> bool {
        self.nanos == 0
    }

    pub fn is_negative(&self) -> bool {
        self.nanos < 0
    }

    pub fn is_integer(&self) -> bool {
        self.nanos % NANO == 0
    }
}

fn saturate(value: i128) -> i64 {
    i64::try_from(value).unwrap_or(if value < 0 { i64::MIN } else { i64::MAX })
}

/// Away from zero, as upstream rounds.
fn div_up(value: i128, by: i128) -> i128 {
    let (quotient, rest) = (value / by, value % by);
    if rest == 0 {
        quotient
    } else {
        quotient + rest.signum()
    }
}

impl PartialEq for Quantity {
    fn eq(&self, other: &Self) -> bool {
        self.nanos == other.nanos
    }
}

impl Eq for Quantity {}

impl PartialOrd for Quantity {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Quantity {
    fn cmp(&self, other: &Self) -> Ordering {
        self.nanos.cmp(&other.nanos)
    }
}

impl Add for Quantity {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        let format = if self.is_zero() { other.format } else { self.format };
        Self {
            nanos: self.nanos.saturating_add(other.nanos),
            format,
        }
    }
}

impl Sub for Quantity {
    type Output = Self;

    fn sub(self, other: Self) -> Self {
        let format = if self.is_zero() { other.format } else { self.format };
        Self {
            nanos: self.nanos.saturating_sub(other.nanos),
            format,
        }
    }
}

impl FromStr for Quantity {
    type Err = ParseQuantityError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (negative, rest) = match text.as_bytes().first() {
            Some(b'-') => (true, &text[1..]),
            Some(b'+') => (false, &text[1..]),
            Some(_) => (false, text),
            None => return Err(ParseQuantityError::Format),
        };
        let digits_end = rest
            .find(|c: char| !c.is_ascii_digit() && c != '.')
            .unwrap_or(rest.len());
        let (number, suffix) = rest.split_at(digits_end);
        if number.is_empty() || number == "." {
            return Err(ParseQuantityError::Format);
        }
        if number.matches('.').count() > 1 {
            return Err(ParseQuantityError::Numeric);
        }
        let (scale, format) = parse_suffix(suffix)?;
        let nanos = scaled(number, scale).ok_or(ParseQuantityError::Numeric)?;
        Ok(Self {
            nanos: if negative { -nanos } else { nanos },
            format,
        })
    }
}

#[derive(Clone, Copy)]
enum Scale {
    /// A power of ten.
    Ten(i32),
    /// A power of 1024.
    Binary(u32),
}

fn parse_suffix(suffix: &str) -> Result<(Scale, Format), ParseQuantityError> {
    let ten = |power| Ok((Scale::Ten(power), Format::DecimalSi));
    let binary = |power| Ok((Scale::Binary(power), Format::BinarySi));
    match suffix {
        "n" => ten(-9),
        "u" => ten(-6),
        "m" => ten(-3),
        "" => ten(0),
        "k" => ten(3),
        "M" => ten(6),
        "G" => ten(9),
        "T" => ten(12),
        "P" => ten(15),
        "E" => ten(18),
        "Ki" => binary(1),
        "Mi" => binary(2),
        "Gi" => binary(3),
        "Ti" => binary(4),
        "Pi" => binary(5),
        "Ei" => binary(6),
        _ => {
            let known = suffix.chars().all(|c| "eEinumkKMGTP+-0123456789".contains(c));
            let exponent = suffix.strip_prefix(['e', 'E']).filter(|rest| !rest.is_empty());
            match exponent.and_then(|rest| rest.parse::<i32>().ok()) {
                Some(power) => Ok((Scale::Ten(power), Format::DecimalExponent)),
                None if known => Err(ParseQuantityError::Suffix),
                None => Err(ParseQuantityError::Format),
            }
        }
    }
}

/// `number * scale` in billionths, rounded up, capped at what an `i64` of whole units holds (as upstream).
fn scaled(number: &str, scale: Scale) -> Option<i128> {
    const CAP: i128 = i64::MAX as i128 * NANO;
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    let digits: String = format!("{whole}{fraction}");
    let digits = digits.trim_start_matches('0');
    if digits.is_empty() {
        return Some(0);
    }
    // More digits than this cannot be told apart from the cap or from the rounding unit.
    let fraction_len = i32::try_from(fraction.len()).ok()?;
    let (mut mantissa, mut power) = (0i128, -fraction_len);
    let mut rest_nonzero = false;
    for (i, digit) in digits.bytes().enumerate() {
        if i < 27 {
            mantissa = mantissa * 10 + i128::from(digit - b'0');
        } else {
            power += 1;
            rest_nonzero |= digit != b'0';
        }
    }
    let mut power = power + 9;
    let mut factor: i128 = 1;
    match scale {
        Scale::Ten(exponent) => power = power.saturating_add(exponent),
        Scale::Binary(exponent) => factor = 1024i128.pow(exponent),
    }
    let mut value = match mantissa.checked_mul(factor) {
        Some(value) => value,
        None => return Some(CAP),
    };
    while power > 0 {
        value = match value.checked_mul(10) {
            Some(value) if value <= CAP => value,
            _ => return Some(CAP),
        };
        power -= 1;
    }
    let mut inexact = rest_nonzero;
    while power < 0 && value > 0 {
        inexact |= value % 10 != 0;
        value /= 10;
        power += 1;
    }
    if inexact {
        value += 1;
    }
    Some(value.min(CAP))
}

impl fmt::Display for Quantity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.nanos == 0 {
            return f.write_str("0");
        }
        let whole = self.nanos / NANO;
        let small = whole.abs() < 1024;
        if self.format == Format::BinarySi && !small && self.is_integer() {
            const SUFFIXES: [&str; 7] = ["", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei"];
            let (mut value, mut power) = (whole, 0);
            while value % 1024 == 0 && power < 6 {
                value /= 1024;
                power += 1;
            }
            return write!(f, "{value}{}", SUFFIXES[power]);
        }
        let (mut value, mut power) = (self.nanos, -9i32);
        while value % 1000 == 0 && power < 18 {
            value /= 1000;
            power += 3;
        }
        if self.format == Format::DecimalExponent {
            return if power == 0 {
                write!(f, "{value}")
            } else {
                write!(f, "{value}e{power}")
            };
        }
        const SUFFIXES: [&str; 10] = ["n", "u", "m", "", "k", "M", "G", "T", "P", "E"];
        let index = usize::try_from((power + 9) / 3).unwrap_or(0);
        write!(f, "{value}{}", SUFFIXES[index])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantities_print_in_canonical_form() {
        let cases = [
            ("0", "0"),
            ("100m", "100m"),
            ("1000m", "1"),
            ("0.5", "500m"),
            ("1.5", "1500m"),
            ("1024Mi", "1Gi"),
            ("1.5Gi", "1536Mi"),
            ("1000Ki", "1000Ki"),
            ("512", "512"),
            ("1Ki", "1Ki"),
            ("1000", "1k"),
            ("1e3", "1e3"),
            ("8E", "8E"),
            ("-1500m", "-1500m"),
            ("0.1Ki", "102400m"),
            ("1E3", "1e3"),
            ("100000000", "100M"),
            ("0.0000000001", "1n"),
            ("1234567", "1234567"),
            ("+5", "5"),
            (".5", "500m"),
            ("2.", "2"),
            ("99999999999999999999", "9223372036854775807"),
        ];
        for (text, canonical) in cases {
            let quantity: Quantity = text.parse().unwrap();
            assert_eq!(quantity.to_string(), canonical, "{text}");
            assert_eq!(canonical.parse::<Quantity>().unwrap(), quantity, "{text}");
        }
    }

    #[test]
    fn bad_texts_are_refused() {
        for text in ["", "a", "1.2.3", "1kb", "1 Gi", "--1", "1ki", "Gi", "1eX", "."] {
            assert!(text.parse::<Quantity>().is_err(), "{text:?}");
        }
    }

    #[test]
    fn quantities_compare_add_and_round_up() {
        let q = |text: &str| text.parse::<Quantity>().unwrap();
        assert_eq!(q("1"), q("1000m"));
        assert!(q("1Gi") > q("1G"));
        assert_eq!((q("1Gi") + q("1Gi")).to_string(), "2Gi");
        assert_eq!((q("1") - q("1500m")).to_string(), "-500m");
        assert_eq!((q("1500m").value(), q("1u").milli_value()), (2, 1));
    }
}
