//! Durations as people read them. Follows apimachinery `pkg/util/duration/duration.go`.

use super::access::{UNKNOWN, text};
use jiff::Timestamp;
use serde_json::Value;

/// `5s`, `3m20s`, `7h5m`, `2d3h`, `400d`, `3y10d`: at most two units, less exact as it grows.
pub fn human_duration(seconds: i64) -> String {
    let (minutes, hours) = (seconds / 60, seconds / 3600);
    let two = |big: i64, unit: char, small: i64, rest: char| {
        if small == 0 {
            format!("{big}{unit}")
        } else {
            format!("{big}{unit}{small}{rest}")
        }
    };
    match seconds {
        i64::MIN..=-2 => "<invalid>".to_owned(),
        -1 => "0s".to_owned(),
        0..120 => format!("{seconds}s"),
        _ if minutes < 10 => two(minutes, 'm', seconds % 60, 's'),
        _ if minutes < 180 => format!("{minutes}m"),
        _ if hours < 8 => two(hours, 'h', minutes % 60, 'm'),
        _ if hours < 48 => format!("{hours}h"),
        _ if hours < 24 * 8 => two(hours / 24, 'd', hours % 24, 'h'),
        _ if hours < 24 * 365 * 2 => format!("{}d", hours / 24),
        _ if hours < 24 * 365 * 8 => two(hours / 24 / 365, 'y', hours / 24 % 365, 'd'),
        _ => format!("{}y", hours / 24 / 365),
    }
}

/// The age of the RFC 3339 time at `pointer`; `<unknown>` when it is absent.
pub fn since(object: &Value, pointer: &str, now: Timestamp) -> String {
    match text(object, pointer).parse::<Timestamp>() {
        Ok(then) => human_duration(now.as_second() - then.as_second()),
        Err(_) => UNKNOWN.to_owned(),
    }
}

/// The age of the object itself, as a cell.
pub fn age(object: &Value, now: Timestamp) -> Value {
    Value::from(since(object, "/metadata/creationTimestamp", now))
}

#[cfg(test)]
mod tests {
    use super::human_duration;

    #[test]
    fn durations_lose_exactness_as_they_grow() {
        let day = 86_400;
        let cases = [
            (-5, "<invalid>"),
            (-1, "0s"),
            (0, "0s"),
            (119, "119s"),
            (120, "2m"),
            (200, "3m20s"),
            (11 * 60 + 5, "11m"),
            (3 * 3600 + 5 * 60, "3h5m"),
            (8 * 3600 + 60, "8h"),
            (2 * day + 3 * 3600, "2d3h"),
            (9 * day + 3600, "9d"),
            (3 * 365 * day + 10 * day, "3y10d"),
            (9 * 365 * day, "9y"),
        ];
        for (seconds, expected) in cases {
            assert_eq!(human_duration(seconds), expected, "{seconds} s");
        }
    }
}
