//! Random texts of every notation against whole numbers without bounds.

use num_bigint::BigInt;
use proptest::prelude::*;
use quantity::{Quantity, milli, whole};

/// A text and what it means: `digits * 1024^binary * 10^ten`.
#[derive(Clone, Debug)]
struct Meant {
    text: String,
    digits: BigInt,
    binary: u32,
    ten: i32,
}

fn meant() -> impl Strategy<Value = Meant> {
    let number = prop_oneof![
        "[0-9]{1,12}",
        "[0-9]{1,45}",
        "[0-9]{0,4}\\.[0-9]{1,6}",
        "[0-9]{1,30}\\.[0-9]{0,60}"
    ];
    let decimal = ["n", "u", "m", "", "k", "M", "G", "T", "P", "E"];
    let suffix = prop_oneof![
        (0..decimal.len()).prop_map(move |i| (decimal[i].to_owned(), 0, 3 * i as i32 - 9)),
        (1..7usize).prop_map(|power| (format!("{}i", &"KMGTPE"[power - 1..power]), power as u32, 0)),
        ("[eE]", "[+]?", 0..60).prop_map(|(e, plus, power)| (format!("{e}{plus}{power}"), 0, power)),
        ("[eE]", 0..60).prop_map(|(e, power): (_, i32)| (format!("{e}-{power}"), 0, -power)),
    ];
    ("[+-]?", number, suffix).prop_map(|(sign, number, (suffix, binary, ten))| {
        let fraction = number.split_once('.').map_or(0, |(_, fraction)| fraction.len());
        let digits: BigInt = number.replace('.', "").parse().expect("digits");
        Meant {
            text: format!("{sign}{number}{suffix}"),
            digits: if sign == "-" { -digits } else { digits },
            binary,
            ten: ten - fraction as i32,
        }
    })
}

/// `number / 10^power`, rounded away from zero.
fn shifted(number: &BigInt, power: u32) -> BigInt {
    let by = BigInt::from(10).pow(power);
    let rest = number % &by;
    number / by + BigInt::from((rest > BigInt::ZERO) as i32 - (rest < BigInt::ZERO) as i32)
}

impl Meant {
    /// In billionths; amounts of powers of 1024 have no more whole units than an `i64`.
    fn nanos(&self) -> BigInt {
        let number = &self.digits * BigInt::from(1024).pow(self.binary);
        let nanos = match self.ten + 9 {
            power @ 0.. => number * BigInt::from(10).pow(power.unsigned_abs()),
            power => shifted(&number, power.unsigned_abs()),
        };
        let cap: BigInt = BigInt::from(i64::MAX) * 1_000_000_000;
        if self.binary > 0 {
            nanos.clamp(-cap.clone(), cap)
        } else {
            nanos
        }
    }

    /// In units of `10^(power - 9)`.
    fn in_units(&self, power: u32) -> i64 {
        let value = shifted(&self.nanos(), power).clamp(i64::MIN.into(), i64::MAX.into());
        value.try_into().expect("an i64 after the clamp")
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4096))]

    #[test]
    fn units_are_those_of_exact_numbers(meant in meant()) {
        prop_assert_eq!(whole(&meant.text), meant.in_units(9));
        prop_assert_eq!(milli(&meant.text), meant.in_units(6));
    }

    #[test]
    fn what_is_printed_reads_as_the_same(meant in meant()) {
        let quantity: Quantity = meant.text.parse().expect("a quantity");
        let printed = quantity.to_string();
        prop_assert_eq!(printed.parse::<Quantity>(), Ok(quantity));
        prop_assert_eq!(printed.parse::<Quantity>().expect("a quantity").to_string(), printed);
    }

    #[test]
    fn order_is_that_of_exact_numbers(a in meant(), b in meant()) {
        let most = BigInt::from(i128::MAX);
        let bounded = |meant: &Meant| meant.nanos().clamp(-most.clone(), most.clone());
        let quantity = |meant: &Meant| meant.text.parse::<Quantity>().expect("a quantity");
        prop_assert_eq!(quantity(&a).cmp(&quantity(&b)), bounded(&a).cmp(&bounded(&b)));
    }

    #[test]
    fn no_text_panics(text in "[-+]?[0-9.]{0,4}[eEinumkKMGTP.+-]{0,3}[0-9]{0,12}") {
        if let Ok(quantity) = text.parse::<Quantity>() {
            let _ = (quantity.value(), quantity.milli_value(), quantity.to_string());
        }
    }
}
