//! Several places for the same lines.

use super::Output;
use std::fs::File;
use std::io::{self, Write};
use std::sync::Arc;
use tracing_subscriber::fmt::MakeWriter;

/// Writes each line to every output. One that fails doesn't keep a line from the others.
#[derive(Clone)]
pub struct Outputs(Arc<Vec<Sink>>);

enum Sink {
    Stderr,
    Stdout,
    File(File),
}

impl Outputs {
    pub fn open(outputs: &[Output]) -> io::Result<Self> {
        let sinks = outputs.iter().map(|output| {
            Ok(match output {
                Output::Stderr => Sink::Stderr,
                Output::Stdout => Sink::Stdout,
                Output::File(path) => {
                    let file = File::options().create(true).append(true).open(path);
                    Sink::File(file.map_err(|error| {
                        io::Error::new(error.kind(), format!("open {}: {error}", path.display()))
                    })?)
                }
            })
        });
        Ok(Self(Arc::new(sinks.collect::<io::Result<_>>()?)))
    }
}

impl<'a> MakeWriter<'a> for Outputs {
    type Writer = Self;

    fn make_writer(&'a self) -> Self::Writer {
        self.clone()
    }
}

impl Write for Outputs {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let mut outcome = Ok(line.len());
        for sink in self.0.iter() {
            let written = match sink {
                Sink::Stderr => io::stderr().lock().write_all(line),
                Sink::Stdout => io::stdout().lock().write_all(line),
                // One write a line: appends of several processes don't mix.
                Sink::File(file) => (&mut &*file).write_all(line),
            };
            if let Err(error) = written {
                outcome = Err(error);
            }
        }
        outcome
    }

    fn flush(&mut self) -> io::Result<()> {
        // Standard output may be a file or a pipe, and then waits for more.
        io::stdout().flush()
    }
}
