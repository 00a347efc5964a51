//! Resource quantities: `500m`, `1.5Gi`, `2e3`.

use k8s_openapi::apimachinery::pkg::api::resource::Quantity;

/// Parses into units of 10^-9, rounding away from zero below that. `None` for text that is no quantity.
pub fn parse_quantity(text: &str) -> Option<i128> {
    const NANO: i128 = 1_000_000_000;
    let text = text.trim();
    let split = text
        .find(|c: char| !(c.is_ascii_digit() || c == '.' || c == '+' || c == '-'))
        .unwrap_or(text.len());
    let (number, suffix) = text.split_at(split);
    let scale: (i128, i128) = match suffix {
        "" => (NANO, 1),
        "n" => (1, 1),
        "u" => (1_000, 1),
        "m" => (1_000_000, 1),
        "k" => (NANO * 1_000, 1),
        "M" => (NANO * 1_000_000, 1),
        "G" => (NANO * 1_000_000_000, 1),
        "T" => (NANO * 1_000_000_000_000, 1),
        "P" => (NANO * 1_000_000_000_000_000, 1),
        "E" => (NANO * 1_000_000_000_000_000_000, 1),
        "Ki" => (NANO << 10, 1),
        "Mi" => (NANO << 20, 1),
        "Gi" => (NANO << 30, 1),
        "Ti" => (NANO << 40, 1),
        "Pi" => (NANO << 50, 1),
        "Ei" => (NANO << 60, 1),
        exponent => {
            let power: i32 = exponent.strip_prefix(['e', 'E'])?.parse().ok()?;
            if !(-9..=18).contains(&power) {
                return None;
            }
            let factor = 10_i128.pow(power.unsigned_abs());
            if power >= 0 {
                (NANO * factor, 1)
            } else {
                (NANO, factor)
            }
        }
    };
    let (negative, digits) = match number.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, number.strip_prefix('+').unwrap_or(number)),
    };
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    if whole.is_empty() && fraction.is_empty() || fraction.len() > 18 {
        return None;
    }
    let mantissa: i128 = format!("{whole}{fraction}").parse().ok()?;
    let divisor = 10_i128.pow(u32::try_from(fraction.len()).ok()?) * scale.1;
    let product = mantissa.checked_mul(scale.0)?;
    let value = product.div_euclid(divisor) + i128::from(product.rem_euclid(divisor) != 0);
    Some(if negative { -value } else { value })
}

/// The value in thousandths, rounded up. 0 for text that is no quantity.
pub fn milli_value(quantity: &Quantity) -> i64 {
    scaled(quantity, 1_000_000)
}

/// The value in whole units, rounded up. 0 for text that is no quantity.
pub fn whole_value(quantity: &Quantity) -> i64 {
    scaled(quantity, 1_000_000_000)
}

fn scaled(quantity: &Quantity, unit: i128) -> i64 {
    let nano = parse_quantity(&quantity.0).unwrap_or(0);
    let value = nano.div_euclid(unit) + i128::from(nano.rem_euclid(unit) != 0);
    i64::try_from(value).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::{milli_value, whole_value};
    use k8s_openapi::apimachinery::pkg::api::resource::Quantity;

    #[test]
    fn quantities_have_their_usual_meaning() {
        let q = |s: &str| Quantity(s.to_owned());
        assert_eq!(milli_value(&q("500m")), 500);
        assert_eq!(milli_value(&q("1.5")), 1500);
        assert_eq!(milli_value(&q("100u")), 1);
        assert_eq!(whole_value(&q("64Mi")), 64 << 20);
        assert_eq!(whole_value(&q("1.5Gi")), 3 << 29);
        assert_eq!(whole_value(&q("2e3")), 2000);
        assert_eq!(whole_value(&q("1k")), 1000);
        assert_eq!(whole_value(&q("nonsense")), 0);
    }
}
