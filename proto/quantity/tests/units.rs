//! What callers see of quantities: sums, order, whole units and thousandths.

use quantity::{Quantity, milli, whole};
use serde_json::json;

fn q(text: &str) -> Quantity {
    text.parse().expect("a quantity")
}

#[test]
fn quantities_compare_add_and_round_up() {
    assert_eq!(q("1"), q("1000m"));
    assert!(q("1Gi") > q("1G"));
    assert_eq!((q("1Gi") + q("1Gi")).to_string(), "2Gi");
    assert_eq!((q("1") - q("1500m")).to_string(), "-500m");
    assert_eq!((q("1500m").value(), q("1u").milli_value()), (2, 1));
}

#[test]
fn every_form_of_a_quantity_is_read_and_fractions_round_up() {
    for (text, expected) in [
        ("100m", 100),
        ("500m", 500),
        ("1", 1000),
        ("1.5", 1500),
        (".5", 500),
        ("1u", 1),
        ("100u", 1),
        ("1e3", 1_000_000),
        ("2k", 2_000_000),
        ("x", 0),
        ("", 0),
    ] {
        assert_eq!(milli(text), expected, "{text}");
    }
    for (text, expected) in [
        ("1Gi", 1 << 30),
        ("64Mi", 64 << 20),
        ("1.5Ki", 1536),
        ("1.5Gi", 3 << 29),
        ("2e3", 2000),
        ("1k", 1000),
        ("100m", 1),
        ("9E", 9_000_000_000_000_000_000),
        ("nonsense", 0),
    ] {
        assert_eq!(whole(text), expected, "{text}");
    }
}

#[test]
fn negative_amounts_round_away_from_zero() {
    assert_eq!((whole("-1500m"), whole("-1n")), (-2, -1));
    assert_eq!((milli("-1.0001"), milli("-1")), (-1001, -1000));
}

#[test]
fn large_amounts_saturate() {
    assert_eq!((whole("100E"), whole("-100E")), (i64::MAX, i64::MIN));
    assert_eq!((milli("1E"), milli("-1E")), (i64::MAX, i64::MIN));
    assert_eq!(whole("9Ei"), i64::MAX);
}

#[test]
fn blanks_around_the_text_of_a_field_do_not_count() {
    assert_eq!((whole(" 2 "), milli("\t2\n")), (2, 2000));
    assert_eq!(Quantity::from_value(&json!(" 2Gi")), Ok(q("2Gi")));
    assert_eq!(Quantity::from_value(&json!(1.5)), Ok(q("1500m")));
    assert!(Quantity::from_value(&json!(true)).is_err());
}
