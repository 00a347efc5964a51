//! One flag of etcd's: its name, the syntax of its value, what it stands for here.

use crate::value::{self, Value};

/// A flag, as `etcd --help` knows it.
#[derive(Debug, Clone, Copy)]
pub struct Flag {
    pub name: &'static str,
    pub kind: Kind,
    /// In the syntax of `kind`, as etcd has it.
    pub default: &'static str,
    pub standing: Standing,
    /// One sentence for `--help`; empty hides the flag there.
    pub help: &'static str,
}

/// The syntax of a flag's value (Go's `flag` package, etcd `pkg/flags`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Bool,
    Text,
    /// 64 bits, signed.
    Int,
    /// 64 bits.
    Uint,
    Uint32,
    Duration,
    /// URLs, separated by commas.
    Urls,
    /// URLs or `*`.
    Origins,
    /// Words, separated by commas, in the given order.
    List,
    /// Words, separated by commas; each counts once.
    Set,
    Choice(&'static [&'static str]),
    /// `Name=true,Other=false`.
    Gates,
    /// A flag of long ago: anything goes, nothing happens.
    Ignored,
}

/// What becomes of a flag that is set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// It does what it says.
    Served,
    /// It is taken and changes nothing, for this reason.
    Idle(&'static str),
    /// Anything but its default is refused, for this reason.
    Refused(&'static str),
    /// An older name of another flag.
    Renamed(&'static str),
    /// An older switch of what is a feature gate today.
    Gate(&'static str),
}

impl Flag {
    /// Whether the flag may stand alone, without a value.
    pub fn stands_alone(&self) -> bool {
        matches!(self.kind, Kind::Bool | Kind::Ignored)
    }

    pub fn default_value(&self) -> Value {
        self.kind
            .parse(self.default)
            .expect("a default is in its own syntax, which a test proves for every flag")
    }

    /// The environment variable of the flag.
    pub fn variable(&self) -> String {
        format!("ETCD_{}", self.name.to_uppercase().replace('-', "_"))
    }
}

impl Kind {
    /// Reads a value.
    ///
    /// # Errors
    /// What is wrong with it, in etcd's words.
    pub fn parse(self, text: &str) -> Result<Value, String> {
        match self {
            Self::Bool => value::boolean(text).map(Value::Bool),
            Self::Text | Self::Ignored => Ok(Value::Text(text.to_owned())),
            Self::Int => value::integer(text).map(Value::Int),
            Self::Uint => value::unsigned(text, u64::MAX)
                .map(Value::Uint)
                .map_err(|fault| fault.short().to_owned()),
            Self::Uint32 => value::unsigned(text, u64::from(u32::MAX))
                .map(Value::Uint)
                .map_err(|fault| format!("strconv.ParseUint: parsing {text:?}: {}", fault.long())),
            Self::Duration => value::duration(text).map(Value::Duration),
            Self::Urls => value::urls(text).map(Value::Urls),
            Self::Origins if text == "*" || text.is_empty() => Ok(Value::List(vec![text.to_owned()])),
            Self::Origins => {
                let urls = value::urls(text)?;
                Ok(Value::List(urls.iter().map(ToString::to_string).collect()))
            }
            Self::List => Ok(Value::List(value::words(text))),
            Self::Set => {
                let mut words = value::words(text);
                words.sort();
                words.dedup();
                Ok(Value::List(words))
            }
            Self::Choice(choices) => match choices.iter().find(|choice| **choice == text) {
                Some(choice) => Ok(Value::Text((*choice).to_owned())),
                None => Err("invalid value".to_owned()),
            },
            Self::Gates => value::gates(text).map(Value::Gates),
        }
    }
}
