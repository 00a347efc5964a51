//! Amounts of resources: `100m`, `1.5Gi`, `2e3`.
//!
//! Follows `apimachinery/pkg/api/resource` (1.36): exact down to 1e-9 (what is finer is rounded away from zero), printed
//! in the canonical form of the notation it was read in. Where upstream's numbers grow without end or overflow, ours
//! stop at the largest they can hold.
//!
//! Pure: no clock, no I/O, and no memory but what is printed.

mod amount;
mod parse;
mod print;

pub use amount::{Format, Quantity};
pub use parse::ParseQuantityError;

/// The text of an object's field in whole units, as [`Quantity::value`] gives them; 0 when it's no quantity.
pub fn whole(text: &str) -> i64 {
    text.trim().parse().map_or(0, |amount: Quantity| amount.value())
}

/// The text of an object's field in thousandths, as [`Quantity::milli_value`] gives them; 0 when it's no quantity.
pub fn milli(text: &str) -> i64 {
    text.trim()
        .parse()
        .map_or(0, |amount: Quantity| amount.milli_value())
}
