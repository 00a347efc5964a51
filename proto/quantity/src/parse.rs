//! From text.
//!
//! Upstream takes a text without digits (`Gi`, `.`) for zero; here it is refused.

use crate::amount::{Format, NANO, Quantity};
use std::str::FromStr;

/// Why a text is no quantity.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ParseQuantityError {
    #[error("quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'")]
    Format,
    #[error("unable to parse quantity's suffix")]
    Suffix,
}

impl FromStr for Quantity {
    type Err = ParseQuantityError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (negative, rest) = match text.strip_prefix('-') {
            Some(rest) => (true, rest),
            None => (false, text.strip_prefix('+').unwrap_or(text)),
        };
        let (whole, rest) = digits(rest);
        let (fraction, suffix) = rest.strip_prefix('.').map_or(("", rest), digits);
        if whole.is_empty() && fraction.is_empty() {
            return Err(ParseQuantityError::Format);
        }
        let (scale, mut format) = scale(suffix)?;
        let nanos = match scale {
            Scale::Ten(power) => decimal(whole, fraction, power),
            Scale::Binary(power) => binary(whole, fraction, power),
        };
        if format == Format::BinarySi && (1..NANO).contains(&nanos) {
            format = Format::DecimalSi;
        }
        Ok(Self {
            nanos: if negative { -nanos } else { nanos },
            format,
        })
    }
}

/// Splits off the leading digits.
fn digits(text: &str) -> (&str, &str) {
    let end = text.bytes().position(|byte| !byte.is_ascii_digit());
    text.split_at(end.unwrap_or(text.len()))
}

#[derive(Clone, Copy)]
enum Scale {
    /// A power of ten.
    Ten(i32),
    /// A power of 1024, at most the sixth.
    Binary(u32),
}

fn scale(suffix: &str) -> Result<(Scale, Format), ParseQuantityError> {
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
            let exponent = suffix.strip_prefix(['e', 'E']);
            match exponent.and_then(|exponent| exponent.parse().ok()) {
                Some(power) => Ok((Scale::Ten(power), Format::DecimalExponent)),
                None if is_suffix(suffix) => Err(ParseQuantityError::Suffix),
                None => Err(ParseQuantityError::Format),
            }
        }
    }
}

/// Whether it has the form that suffixes have: letters, a sign, digits; each may lack.
fn is_suffix(text: &str) -> bool {
    let number = text.trim_start_matches(|c| "eEinumkKMGTP".contains(c));
    let number = number.strip_prefix(['-', '+']).unwrap_or(number);
    number.bytes().all(|byte| byte.is_ascii_digit())
}

fn value(digit: u8) -> i128 {
    i128::from(digit - b'0')
}

/// `whole.fraction * 10^power` in billionths, rounded up. Saturates.
fn decimal(whole: &str, fraction: &str, power: i32) -> i128 {
    let length = i64::try_from(whole.len()).unwrap_or(i64::MAX);
    // So many digits stand before the point once the number is in billionths.
    let point = length.saturating_add(i64::from(power) + 9);
    let (mut nanos, mut finer) = (0i128, false);
    let mut at = 0;
    for digit in whole.bytes().chain(fraction.bytes()) {
        if at < point {
            nanos = nanos.saturating_mul(10).saturating_add(value(digit));
        } else {
            finer |= digit != b'0';
        }
        at += 1;
    }
    while at < point && nanos != 0 && nanos != i128::MAX {
        nanos = nanos.saturating_mul(10);
        at += 1;
    }
    nanos.saturating_add(i128::from(finer))
}

/// `whole.fraction * 1024^power` in billionths, rounded up, and no more whole units than an `i64` holds, as upstream.
fn binary(whole: &str, fraction: &str, power: u32) -> i128 {
    const CAP: i128 = i64::MAX as i128 * NANO;
    let unit = NANO << (10 * power);
    let units = whole.bytes().fold(0i128, |units, digit| {
        units.saturating_mul(10).saturating_add(value(digit))
    });
    // From the last digit on, each step rounded up: that is the same as rounding the exact sum up once.
    let part = fraction.bytes().rev().fold(0i128, |part, digit| {
        let sum = value(digit) * unit + part;
        sum / 10 + i128::from(sum % 10 != 0)
    });
    units.saturating_mul(unit).saturating_add(part).min(CAP)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bad_texts_are_refused() {
        for text in [
            "", "a", "1.2.3", "1kb", "1 Gi", "--1", "1ki", "Gi", "1eX", ".", "-", "1.1.M", "1+1.0M", "0.1mi",
            "0.1am", "aoeu", ".5i", "1i", "-3.01i", "-3.01e-", " 1", "1 ", "1e", "1ₑ",
        ] {
            assert!(text.parse::<Quantity>().is_err(), "{text:?}");
        }
    }

    #[test]
    fn errors_tell_a_wrong_form_from_an_unknown_suffix() {
        let error = |text: &str| text.parse::<Quantity>().unwrap_err();
        for text in ["1i", "1ki", "0.1mi", "3.01e-", "1e99999999999"] {
            assert_eq!(error(text), ParseQuantityError::Suffix, "{text}");
        }
        for text in ["much", "1kb", "1.2.3", "1+1.0M", "1-1-"] {
            assert_eq!(error(text), ParseQuantityError::Format, "{text}");
        }
    }

    #[test]
    fn amounts_finer_than_billionths_are_rounded_away_from_zero() {
        for (text, nanos) in [
            ("3.001n", 4),
            ("1.1E-9", 2),
            ("0.0000000005", 1),
            ("0.5e-9", 1),
            ("1e-50", 1),
            ("0.00000012354", 124),
            ("0.000000000001Ki", 2),
            ("-0.9n", -1),
            ("0.0000000000000000000000000000000000000000000000001Ei", 1),
        ] {
            assert_eq!(text.parse::<Quantity>().unwrap().nanos, nanos, "{text}");
        }
    }

    #[test]
    fn binary_amounts_end_where_an_i64_does_and_decimal_ones_later() {
        let cap = i128::from(i64::MAX) * NANO;
        for (text, nanos) in [
            ("9Ei", cap),
            ("8Ei", cap),
            ("-9Ei", -cap),
            ("9223372036854775807Ki", cap),
            ("12E", 12 * NANO.pow(3)),
            ("99999999999999999999", 99_999_999_999_999_999_999 * NANO),
            ("0.0001e30", NANO.pow(3) * 100_000_000),
            ("1e2147483647", i128::MAX),
            ("-1e2147483647", -i128::MAX),
            ("0e2147483647", 0),
        ] {
            assert_eq!(text.parse::<Quantity>().unwrap().nanos, nanos, "{text}");
        }
    }

    #[test]
    fn a_binary_amount_below_one_is_decimal() {
        let sum = |a: &str, b: &str| (a.parse::<Quantity>().unwrap() + b.parse().unwrap()).to_string();
        assert_eq!(sum("0.0005Ki", "1Ki"), "1024512m");
        assert_eq!(sum("0.5Ki", "1.5Ki"), "2Ki");
        assert_eq!(sum("0.0009765625Ki", "2047"), "2Ki");
    }
}
