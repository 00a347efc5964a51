//! Kubernetes quantities as integers.
//!
//! Follows `k8s.io/apimachinery/pkg/api/resource`: decimal (`m`, `k`, `M`, …), binary (`Ki`, `Mi`, …) and exponent
//! forms; a fraction of the unit asked for rounds up.

/// `text` in thousandths; `None` when it's no quantity. Saturates.
pub fn milli(text: &str) -> Option<i64> {
    scaled(text, 1000)
}

/// `text` in whole units; `None` when it's no quantity. Saturates.
pub fn whole(text: &str) -> Option<i64> {
    scaled(text, 1)
}

fn scaled(text: &str, unit: i128) -> Option<i64> {
    let text = text.trim();
    let (negative, digits) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    let end = digits
        .find(|c: char| !c.is_ascii_digit() && c != '.')
        .unwrap_or(digits.len());
    let (number, suffix) = digits.split_at(end);
    let (integer, fraction) = number.split_once('.').unwrap_or((number, ""));
    if integer.is_empty() && fraction.is_empty() {
        return None;
    }
    let mut mantissa: i128 = 0;
    for digit in integer.bytes().chain(fraction.bytes()) {
        if !digit.is_ascii_digit() {
            return None;
        }
        mantissa = mantissa
            .saturating_mul(10)
            .saturating_add(i128::from(digit - b'0'));
    }
    let (multiplier, mut exponent) = factor(suffix)?;
    exponent -= i32::try_from(fraction.len()).ok()?;
    let mut numerator = mantissa.saturating_mul(multiplier).saturating_mul(unit);
    let mut denominator: i128 = 1;
    let power = 10_i128.saturating_pow(exponent.unsigned_abs().min(38));
    if exponent >= 0 {
        numerator = numerator.saturating_mul(power);
    } else {
        denominator = power;
    }
    // Rounded away from zero, as `ScaledValue` does for positive values.
    let value = numerator / denominator + i128::from(numerator % denominator != 0);
    let value = if negative { -value } else { value };
    Some(i64::try_from(value).unwrap_or(if negative { i64::MIN } else { i64::MAX }))
}

/// The binary multiplier and the power of ten that a suffix stands for.
fn factor(suffix: &str) -> Option<(i128, i32)> {
    Some(match suffix {
        "" => (1, 0),
        "n" => (1, -9),
        "u" => (1, -6),
        "m" => (1, -3),
        "k" => (1, 3),
        "M" => (1, 6),
        "G" => (1, 9),
        "T" => (1, 12),
        "P" => (1, 15),
        "E" => (1, 18),
        "Ki" => (1 << 10, 0),
        "Mi" => (1 << 20, 0),
        "Gi" => (1 << 30, 0),
        "Ti" => (1 << 40, 0),
        "Pi" => (1 << 50, 0),
        "Ei" => (1 << 60, 0),
        exponent => {
            let power = exponent.strip_prefix(['e', 'E'])?;
            (1, power.parse().ok()?)
        }
    })
}

#[cfg(test)]
mod tests {
    use super::{milli, whole};

    #[test]
    fn every_form_of_a_quantity_is_read_and_fractions_round_up() {
        for (text, expected) in [
            ("100m", Some(100)),
            ("1", Some(1000)),
            ("1.5", Some(1500)),
            (".5", Some(500)),
            ("1u", Some(1)),
            ("1e3", Some(1_000_000)),
            ("2k", Some(2_000_000)),
            ("x", None),
            ("", None),
        ] {
            assert_eq!(milli(text), expected, "{text}");
        }
        assert_eq!(whole("1Gi"), Some(1 << 30));
        assert_eq!(whole("1.5Ki"), Some(1536));
        assert_eq!(whole("100m"), Some(1));
        assert_eq!(whole("9E"), Some(9_000_000_000_000_000_000));
        assert_eq!(whole("100E"), Some(i64::MAX));
    }
}
