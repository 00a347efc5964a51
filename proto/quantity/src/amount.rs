//! The number itself: arithmetic, order, rounding.

use crate::ParseQuantityError;
use serde_json::Value;
use std::cmp::Ordering;
use std::ops::{Add, Sub};

pub(crate) const NANO: i128 = 1_000_000_000;

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
    pub(crate) nanos: i128,
    pub(crate) format: Format,
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

    /// From a string or number of an object; blanks around a string don't count.
    ///
    /// # Errors
    /// It is no quantity.
    pub fn from_value(value: &Value) -> Result<Self, ParseQuantityError> {
        match value {
            Value::String(text) => text.trim().parse(),
            Value::Number(number) => number.to_string().parse(),
            _ => Err(ParseQuantityError::Format),
        }
    }

    /// In whole units, rounded away from zero. Saturates.
    pub fn value(&self) -> i64 {
        saturate(div_away(self.nanos, NANO))
    }

    /// In thousandths, rounded away from zero. Saturates.
    pub fn milli_value(&self) -> i64 {
        saturate(div_away(self.nanos, NANO / 1000))
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

    /// What comes of this and `other`: in this one's notation, unless this is zero, which has none.
    fn joined_with(self, other: Self, nanos: i128) -> Self {
        let format = if self.is_zero() { other.format } else { self.format };
        Self { nanos, format }
    }
}

fn saturate(value: i128) -> i64 {
    i64::try_from(value).unwrap_or(if value < 0 { i64::MIN } else { i64::MAX })
}

/// Rounds away from zero, as upstream does.
fn div_away(value: i128, by: i128) -> i128 {
    let (quotient, rest) = (value / by, value % by);
    quotient + rest.signum()
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
        self.joined_with(other, self.nanos.saturating_add(other.nanos))
    }
}

impl Sub for Quantity {
    type Output = Self;

    fn sub(self, other: Self) -> Self {
        self.joined_with(other, self.nanos.saturating_sub(other.nanos))
    }
}
