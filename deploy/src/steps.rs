//! One line a step: what is waited for, and how long it took.

use anyhow::Context as _;
use std::future::Future;
use std::io::Write as _;
use tokio::time::Instant;

/// Tells the user what is going on. Steps don't overlap: one line is open at a time.
pub struct Steps {
    start: Instant,
}

impl Steps {
    pub fn begin(title: &str) -> Self {
        println!("{title}");
        Self {
            start: Instant::now(),
        }
    }

    /// Runs `body`; its failure is named after the step.
    ///
    /// # Errors
    /// The body's own.
    pub async fn step<T>(
        &self,
        what: &str,
        body: impl Future<Output = anyhow::Result<T>>,
    ) -> anyhow::Result<T> {
        print!("  {what} ... ");
        // Nobody is harmed when the terminal is gone; the work goes on.
        let _closed_output = std::io::stdout().flush();
        let start = Instant::now();
        let result = body.await;
        let verdict = if result.is_ok() { "" } else { "FAILED after " };
        println!("{verdict}{:.1} s", start.elapsed().as_secs_f64());
        result.with_context(|| format!("{what} failed"))
    }

    /// The last line, with the time that everything took.
    pub fn finish(&self, message: &str) {
        println!("{message} ({:.1} s)", self.start.elapsed().as_secs_f64());
    }
}
