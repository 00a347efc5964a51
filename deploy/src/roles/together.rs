//! Several roles in one process: started in order, stopped in the opposite order, ended together.

use anyhow::{Context as _, anyhow};
use std::time::Duration;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

/// Time for one role to hand over and finish; then the next is asked, whether it ended or not.
const STAGE_PATIENCE: Duration = Duration::from_secs(4);

/// Roles that run as tasks of this process.
#[derive(Default)]
pub struct Together {
    tasks: JoinSet<(&'static str, anyhow::Result<()>)>,
    started: Vec<Started>,
}

struct Started {
    name: &'static str,
    stop: CancellationToken,
    ended: CancellationToken,
}

impl Together {
    /// Starts a role; those started later depend on it and will be stopped before it.
    pub fn start<F>(&mut self, name: &'static str, role: impl FnOnce(CancellationToken) -> F)
    where
        F: Future<Output = anyhow::Result<()>> + Send + 'static,
    {
        let started = Started {
            name,
            stop: CancellationToken::new(),
            ended: CancellationToken::new(),
        };
        let running = role(started.stop.clone());
        let guard = started.ended.clone().drop_guard();
        self.tasks.spawn(async move {
            let result = running.await;
            drop(guard);
            (name, result)
        });
        self.started.push(started);
    }

    /// Runs until `cancel`, or until one role ends, which ends all.
    ///
    /// # Errors
    /// That of the role that ended, and its ending itself when nobody asked for it.
    pub async fn run(mut self, cancel: CancellationToken) -> anyhow::Result<()> {
        let outcome = tokio::select! {
            biased;
            () = cancel.cancelled() => Ok(()),
            ended = self.tasks.join_next() => Err(reason(ended)),
        };
        for role in self.started.iter().rev() {
            role.stop.cancel();
            if tokio::time::timeout(STAGE_PATIENCE, role.ended.cancelled())
                .await
                .is_err()
            {
                tracing::warn!(role = role.name, "does not stop in time");
            }
        }
        outcome
    }
}

fn reason(
    ended: Option<Result<(&'static str, anyhow::Result<()>), tokio::task::JoinError>>,
) -> anyhow::Error {
    match ended {
        Some(Ok((name, Ok(())))) => anyhow!("{name} ended unasked"),
        Some(Ok((name, Err(error)))) => Err::<(), _>(error).context(name).expect_err("it is an error"),
        Some(Err(panic)) => anyhow!(panic),
        None => anyhow!("no role was started"),
    }
}

#[cfg(test)]
mod tests {
    use super::Together;
    use std::sync::{Arc, Mutex};
    use tokio_util::sync::CancellationToken;

    #[tokio::test]
    async fn what_was_started_last_is_stopped_first() {
        let order = Arc::new(Mutex::new(Vec::new()));
        let mut together = Together::default();
        for name in ["store", "api", "scheduler"] {
            let order = Arc::clone(&order);
            together.start(name, |stop| async move {
                stop.cancelled().await;
                order.lock().expect("not poisoned").push(name);
                Ok(())
            });
        }
        let cancel = CancellationToken::new();
        cancel.cancel();
        together.run(cancel).await.expect("asked for");
        assert_eq!(
            *order.lock().expect("not poisoned"),
            ["scheduler", "api", "store"]
        );
    }

    #[tokio::test]
    async fn the_end_of_one_is_the_end_of_all_and_names_it() {
        let mut together = Together::default();
        together.start("store", |stop| async move {
            stop.cancelled().await;
            Ok(())
        });
        together.start("api", |_| async { anyhow::bail!("address in use") });
        let error = together
            .run(CancellationToken::new())
            .await
            .expect_err("a role failed");
        assert_eq!(format!("{error:#}"), "api: address in use");
    }
}
