//! Numbers given as a count or a percentage. Source: apimachinery `intstr.GetScaledValueFromIntOrPercent` (1.36).

use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Round {
    Up,
    Down,
}

/// `value` as a count, percentages taken of `total`. `None` for text that isn't a percentage.
pub fn scaled(value: &IntOrString, total: i32, round: Round) -> Option<i32> {
    match value {
        IntOrString::Int(count) => Some(*count),
        IntOrString::String(text) => {
            let percent: i64 = text.strip_suffix('%')?.parse().ok()?;
            let product = percent * i64::from(total);
            let count = match round {
                Round::Up => (product + 99).div_euclid(100),
                Round::Down => product.div_euclid(100),
            };
            i32::try_from(count).ok()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Round, scaled};
    use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

    #[test]
    fn percentages_round_as_asked_and_counts_stay() {
        let percent = |text: &str| IntOrString::String(text.into());
        assert_eq!(scaled(&percent("25%"), 10, Round::Up), Some(3));
        assert_eq!(scaled(&percent("25%"), 10, Round::Down), Some(2));
        assert_eq!(scaled(&percent("100%"), 7, Round::Down), Some(7));
        assert_eq!(scaled(&IntOrString::Int(4), 10, Round::Up), Some(4));
        assert_eq!(scaled(&percent("many"), 10, Round::Up), None);
    }
}
