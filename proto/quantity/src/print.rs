//! The canonical form: the largest suffix of the notation that leaves no fraction.

use crate::amount::{Format, NANO, Quantity};
use std::fmt;

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
        const SUFFIXES: [&str; 10] = ["n", "u", "m", "", "k", "M", "G", "T", "P", "E"];
        let (mut value, mut thousands) = (self.nanos, 0);
        while value % 1000 == 0 {
            value /= 1000;
            thousands += 1;
        }
        match SUFFIXES.get(thousands) {
            Some(suffix) if self.format != Format::DecimalExponent => write!(f, "{value}{suffix}"),
            _ if thousands == 3 => write!(f, "{value}"),
            // Beyond `E` too: 1.36 itself drops the suffix there, later releases print the exponent.
            _ => write!(f, "{value}e{}", 3 * thousands as i32 - 9),
        }
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
            ("1.5e-2", "15e-3"),
            ("5e0", "5"),
            ("100000000", "100M"),
            ("0.0000000001", "1n"),
            ("1234567", "1234567"),
            ("+5", "5"),
            (".5", "500m"),
            ("2.", "2"),
            ("12E", "12E"),
            ("1000E", "1e21"),
            ("1e24", "1e24"),
            ("99999999999999999999", "99999999999999999999"),
            ("9Ei", "9223372036854775807"),
            ("1e300", "170141183460469231731687303715884105727e-9"),
        ];
        for (text, canonical) in cases {
            let quantity: Quantity = text.parse().unwrap();
            assert_eq!(quantity.to_string(), canonical, "{text}");
            assert_eq!(canonical.parse::<Quantity>().unwrap(), quantity, "{text}");
        }
    }
}
