//! Container logs in the CRI's format: `<RFC 3339 time> stdout|stderr F|P <text>`, one entry a line.
//!
//! `P` marks a part of a line that was too long for one entry; its text goes on in the next entry.

use jiff::Timestamp;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogLine<'a> {
    /// As written, so that it goes out unchanged.
    pub time_text: &'a [u8],
    pub time: Option<Timestamp>,
    pub stderr: bool,
    pub partial: bool,
    pub text: &'a [u8],
}

/// What of a log is wanted.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LogOptions {
    pub tail_lines: Option<usize>,
    pub since: Option<Timestamp>,
    pub timestamps: bool,
    pub limit_bytes: Option<usize>,
    /// `None`: both streams.
    pub only_stderr: Option<bool>,
}

/// One entry without its newline. `None` for what is not in the format.
pub fn parse_line(line: &[u8]) -> Option<LogLine<'_>> {
    let mut parts = line.splitn(4, |b| *b == b' ');
    let (time_text, stream, tag) = (parts.next()?, parts.next()?, parts.next()?);
    let text = parts.next().unwrap_or_default();
    let stderr = match stream {
        b"stdout" => false,
        b"stderr" => true,
        _ => return None,
    };
    Some(LogLine {
        time_text,
        time: std::str::from_utf8(time_text).ok().and_then(|t| t.parse().ok()),
        stderr,
        partial: tag == b"P",
        text,
    })
}

/// Turns entries into what the reader asked for, entry by entry.
#[derive(Debug, Clone)]
pub struct LogSelector {
    options: LogOptions,
    left: Option<usize>,
    /// Whether the next entry continues a line.
    continued: bool,
}

impl LogSelector {
    pub fn new(options: LogOptions) -> Self {
        Self {
            left: options.limit_bytes,
            options,
            continued: false,
        }
    }

    /// Appends the entry to `out` if it is wanted. False when the byte limit is reached.
    pub fn push(&mut self, line: &[u8], out: &mut Vec<u8>) -> bool {
        if self.left == Some(0) {
            return false;
        }
        let Some(entry) = parse_line(line) else {
            return true;
        };
        if self
            .options
            .only_stderr
            .is_some_and(|wanted| wanted != entry.stderr)
        {
            return true;
        }
        if let (Some(since), Some(time)) = (self.options.since, entry.time)
            && time < since
        {
            return true;
        }
        let start = out.len();
        if self.options.timestamps && !self.continued {
            out.extend_from_slice(entry.time_text);
            out.push(b' ');
        }
        out.extend_from_slice(entry.text);
        if !entry.partial {
            out.push(b'\n');
        }
        self.continued = entry.partial;
        if let Some(left) = &mut self.left {
            let written = out.len() - start;
            if written >= *left {
                out.truncate(start + *left);
                *left = 0;
                return false;
            }
            *left -= written;
        }
        true
    }
}

/// The byte offset at which the last `lines` whole lines of `data` begin (parts count with their end).
fn tail_offset(data: &[u8], lines: usize) -> usize {
    if lines == 0 {
        return data.len();
    }
    let mut found = 0;
    let mut end = data.len();
    let mut offset = data.len();
    while end > 0 {
        let body_end = if data[end - 1] == b'\n' { end - 1 } else { end };
        let start = data[..body_end]
            .iter()
            .rposition(|b| *b == b'\n')
            .map_or(0, |at| at + 1);
        let partial = parse_line(&data[start..body_end]).is_some_and(|l| l.partial);
        if !partial {
            found += 1;
            if found > lines {
                return offset;
            }
        }
        offset = start;
        end = start;
    }
    0
}

/// Selects from a whole file. The second value is how many bytes of whole entries were read, where a
/// follower goes on; the third the selector to go on with.
pub fn parse_stream(data: &[u8], options: &LogOptions) -> (Vec<u8>, usize, LogSelector) {
    let from = options.tail_lines.map_or(0, |lines| tail_offset(data, lines));
    let mut selector = LogSelector::new(options.clone());
    let mut out = Vec::new();
    let mut read = from;
    for line in data[from..].split_inclusive(|b| *b == b'\n') {
        let Some(body) = line.strip_suffix(b"\n") else {
            break;
        };
        read += line.len();
        if !selector.push(body, &mut out) {
            break;
        }
    }
    (out, read, selector)
}

#[cfg(test)]
mod tests {
    use super::{LogOptions, parse_stream};

    const LOG: &[u8] = b"2026-01-01T00:00:00.000000001Z stdout F one\n\
        2026-01-01T00:00:01Z stdout P tw\n2026-01-01T00:00:01Z stdout F o\n\
        2026-01-01T00:00:02Z stderr F three\n";

    fn select(options: LogOptions) -> String {
        String::from_utf8(parse_stream(LOG, &options).0).expect("text")
    }

    #[test]
    fn parts_are_joined_and_the_tail_counts_whole_lines() {
        assert_eq!(select(LogOptions::default()), "one\ntwo\nthree\n");
        let tail = |n| LogOptions {
            tail_lines: Some(n),
            ..LogOptions::default()
        };
        assert_eq!(select(tail(2)), "two\nthree\n");
        assert_eq!(select(tail(0)), "");
        assert_eq!(select(tail(9)), "one\ntwo\nthree\n");
    }

    #[test]
    fn time_bytes_and_streams_narrow_the_answer() {
        let since = LogOptions {
            since: "2026-01-01T00:00:02Z".parse().ok(),
            timestamps: true,
            ..LogOptions::default()
        };
        assert_eq!(select(since), "2026-01-01T00:00:02Z three\n");
        let limited = LogOptions {
            limit_bytes: Some(5),
            ..LogOptions::default()
        };
        assert_eq!(select(limited), "one\nt");
        let errors = LogOptions {
            only_stderr: Some(true),
            ..LogOptions::default()
        };
        assert_eq!(select(errors), "three\n");
    }
}
