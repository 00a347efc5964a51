//! Lines that look like etcd's (`client/pkg/logutil/zap.go`): one JSON object with `level`, `ts`, `caller`,
//! `msg`, then the event's fields.

use serde_json::{Map, Value};
use std::error::Error;
use std::fmt::{self, Debug};
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Metadata, Subscriber};
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::registry::LookupSpan;

pub struct EtcdFormat;

impl<S, N> FormatEvent<S, N> for EtcdFormat
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        _context: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let mut fields = Fields::default();
        event.record(&mut fields);
        let metadata = event.metadata();
        let mut line = format!(
            r#"{{"level":"{}","ts":"{:.6}","caller":{},"msg":{}"#,
            level(metadata.level()),
            jiff::Timestamp::now(),
            Value::String(caller(metadata)),
            Value::String(fields.message),
        );
        for (name, value) in fields.others {
            line.push(',');
            line.push_str(&Value::String(name).to_string());
            line.push(':');
            line.push_str(&value.to_string());
        }
        writeln!(writer, "{line}}}")
    }
}

fn level(level: &Level) -> &'static str {
    match *level {
        Level::ERROR => "error",
        Level::WARN => "warn",
        Level::INFO => "info",
        Level::DEBUG | Level::TRACE => "debug",
    }
}

/// The last folder, the file and the line.
fn caller(metadata: &Metadata<'_>) -> String {
    let file = metadata.file().unwrap_or_else(|| metadata.target());
    let short = match file.rmatch_indices('/').nth(1) {
        Some((slash, _)) => &file[slash + 1..],
        None => file,
    };
    format!("{short}:{}", metadata.line().unwrap_or(0))
}

#[derive(Default)]
struct Fields {
    message: String,
    others: Map<String, Value>,
}

impl Fields {
    fn put(&mut self, field: &Field, value: Value) {
        match (field.name(), value) {
            ("message", Value::String(text)) => self.message = text,
            ("message", value) => self.message = value.to_string(),
            // A field of the same name as one of ours would make the line ambiguous.
            (name @ ("level" | "ts" | "caller" | "msg"), value) => {
                self.others.insert(format!("{name}_"), value);
            }
            (name, value) => {
                self.others.insert(name.to_owned(), value);
            }
        }
    }
}

impl Visit for Fields {
    fn record_f64(&mut self, field: &Field, value: f64) {
        self.put(field, value.into());
    }
    fn record_i64(&mut self, field: &Field, value: i64) {
        self.put(field, value.into());
    }
    fn record_u64(&mut self, field: &Field, value: u64) {
        self.put(field, value.into());
    }
    fn record_bool(&mut self, field: &Field, value: bool) {
        self.put(field, value.into());
    }
    fn record_str(&mut self, field: &Field, value: &str) {
        self.put(field, value.into());
    }
    fn record_error(&mut self, field: &Field, value: &(dyn Error + 'static)) {
        self.put(field, value.to_string().into());
    }
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.put(field, format!("{value:?}").into());
    }
}

#[cfg(test)]
mod tests {
    use super::EtcdFormat;
    use serde_json::Value;
    use std::io::{self, Write};
    use std::sync::{Arc, Mutex};
    use tracing_subscriber::fmt::MakeWriter;

    #[derive(Clone, Default)]
    struct Lines(Arc<Mutex<Vec<u8>>>);

    impl Write for Lines {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().expect("not poisoned").extend_from_slice(bytes);
            Ok(bytes.len())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    impl<'a> MakeWriter<'a> for Lines {
        type Writer = Self;
        fn make_writer(&'a self) -> Self {
            self.clone()
        }
    }

    #[test]
    fn a_line_is_one_object_with_the_keys_of_etcd() {
        let lines = Lines::default();
        let subscriber = tracing_subscriber::fmt()
            .with_writer(lines.clone())
            .event_format(EtcdFormat)
            .finish();
        tracing::subscriber::with_default(subscriber, || {
            tracing::warn!(name = "m\"1", count = 3, "ready to serve client requests");
        });
        let text = String::from_utf8(lines.0.lock().expect("not poisoned").clone()).expect("text");
        assert!(text.starts_with(r#"{"level":"warn","ts":""#), "{text}");
        assert!(text.ends_with("}\n"), "{text}");
        let line: Value = serde_json::from_str(&text).expect("JSON");
        assert_eq!(line["msg"], "ready to serve client requests");
        assert_eq!(line["name"], "m\"1");
        assert_eq!(line["count"], 3);
        let caller = line["caller"].as_str().expect("a text");
        assert!(caller.starts_with("telemetry/etcd_format.rs:"), "{caller}");
    }
}
