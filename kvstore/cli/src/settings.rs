//! What has been set, by whom; everything else has etcd's default.

use crate::catalogue;
use crate::flag::{Flag, Standing};
use crate::value::{self, Value};
use std::collections::BTreeMap;
use std::time::Duration;

/// Who has set a value. The later ones of the list are stronger.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Source {
    Environment,
    Flag,
    File,
}

/// Values of flags, by name.
#[derive(Debug, Clone, Default)]
pub struct Settings {
    values: BTreeMap<&'static str, (Value, Source)>,
    /// Things to be said once there is a log.
    remarks: Vec<String>,
}

impl Settings {
    /// Sets a flag; older names set what they are called today.
    ///
    /// # Errors
    /// What is wrong with the value.
    pub fn set(&mut self, flag: &'static Flag, text: &str, source: Source) -> Result<(), String> {
        match flag.standing {
            Standing::Renamed(name) => {
                let successor =
                    catalogue::find(name).expect("a successor is a flag, which a test proves for every name");
                self.set(successor, text, source)?;
                self.remark(format!("--{} is deprecated: use --{name}", flag.name));
            }
            Standing::Gate(name) => {
                let enabled = value::boolean(text)?;
                let mut gates = self.gates();
                gates.insert(name.to_owned(), enabled);
                self.values.insert("feature-gates", (Value::Gates(gates), source));
                self.remark(format!(
                    "--{} is deprecated: use --feature-gates={name}={enabled}",
                    flag.name
                ));
            }
            _ => {
                let value = flag.kind.parse(text)?;
                if let Value::Gates(gates) = &value {
                    catalogue::check_gates(gates)?;
                }
                self.values.insert(flag.name, (value, source));
            }
        }
        Ok(())
    }

    pub fn remark(&mut self, text: String) {
        self.remarks.push(text);
    }

    pub fn remarks(&self) -> &[String] {
        &self.remarks
    }

    pub fn is_set(&self, name: &str) -> bool {
        self.values.contains_key(name)
    }

    /// Who set a flag; `None` when nobody did.
    pub fn source(&self, name: &str) -> Option<Source> {
        self.values.get(name).map(|(_, source)| *source)
    }

    /// The value, or etcd's default.
    pub fn get(&self, name: &str) -> Value {
        match self.values.get(name) {
            Some((value, _)) => value.clone(),
            None => catalogue::find(name)
                .expect("the name is in the catalogue: a test reads every option")
                .default_value(),
        }
    }

    /// Every flag that was set, under its name of today.
    pub fn iter(&self) -> impl Iterator<Item = (&'static Flag, &Value)> {
        self.values
            .iter()
            .filter_map(|(name, (value, _))| Some((catalogue::find(name)?, value)))
    }

    pub fn bool(&self, name: &str) -> bool {
        matches!(self.get(name), Value::Bool(true))
    }

    pub fn text(&self, name: &str) -> String {
        match self.get(name) {
            Value::Text(text) => text,
            _ => String::new(),
        }
    }

    pub fn int(&self, name: &str) -> i64 {
        match self.get(name) {
            Value::Int(number) => number,
            _ => 0,
        }
    }

    pub fn uint(&self, name: &str) -> u64 {
        match self.get(name) {
            Value::Uint(number) => number,
            _ => 0,
        }
    }

    /// Nanoseconds.
    pub fn nanoseconds(&self, name: &str) -> i64 {
        match self.get(name) {
            Value::Duration(nanoseconds) => nanoseconds,
            _ => 0,
        }
    }

    pub fn duration(&self, name: &str) -> Duration {
        value::positive(self.nanoseconds(name))
    }

    pub fn urls(&self, name: &str) -> Vec<crate::url::Url> {
        match self.get(name) {
            Value::Urls(urls) => urls,
            _ => Vec::new(),
        }
    }

    pub fn list(&self, name: &str) -> Vec<String> {
        match self.get(name) {
            Value::List(words) => words,
            _ => Vec::new(),
        }
    }

    fn gates(&self) -> BTreeMap<String, bool> {
        match self.get("feature-gates") {
            Value::Gates(gates) => gates,
            _ => BTreeMap::new(),
        }
    }

    /// Whether a feature gate is open.
    pub fn gate(&self, name: &str) -> bool {
        catalogue::gate_is_open(&self.gates(), name)
    }
}
