//! From arguments to a running member.

use crate::command_line::{self, ArgumentError};
use crate::options::{Options, Refusal};
use crate::settings::Settings;
use crate::url::Url;
use crate::{config_file, environment, gateway, help, logging, readiness, validation};
use kvstore_server::{Member, MemberConfig, worker_threads};
use std::collections::BTreeMap;
use std::error::Error;
use std::net::{ToSocketAddrs as _, UdpSocket};
use std::process::ExitCode;
use support::{Env, telemetry};
use tokio::runtime::Builder;

/// Go ends with this after bad flags.
const USAGE_EXIT: u8 = 2;
/// The file's flag can be a variable too, and then counts as much.
const CONFIG_FILE: &str = "config-file";
const CONFIG_FILE_VARIABLE: &str = "ETCD_CONFIG_FILE";
const NOTIFY_VARIABLE: &str = "NOTIFY_SOCKET";
/// What etcd's binary also is.
const OTHER_COMMANDS: [&str; 1] = ["grpc-proxy"];

/// What the command line is read beside.
#[derive(Debug, Clone, Default)]
pub struct Surroundings {
    /// Environment variables.
    pub variables: BTreeMap<String, String>,
    /// The address under which this machine is reached.
    pub host: Option<String>,
}

impl Surroundings {
    pub fn of_process() -> Self {
        Self {
            variables: std::env::vars_os()
                .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
                .collect(),
            host: own_address(),
        }
    }
}

/// The address from which this machine would reach others; nothing is sent.
fn own_address() -> Option<String> {
    let socket = UdpSocket::bind("0.0.0.0:0").ok()?;
    // An address of documentation: any that isn't on this machine will do.
    socket.connect("192.0.2.1:9").ok()?;
    Some(socket.local_addr().ok()?.ip().to_string())
}

/// Reads arguments, environment and file, and checks them.
///
/// # Errors
/// When they can't be used.
pub fn options(arguments: &[String], surroundings: &Surroundings) -> Result<Options, Refusal> {
    let mut settings = Settings::default();
    let rest = command_line::parse(arguments, &mut settings).map_err(|error| Refusal(error.to_string()))?;
    check(gather(settings, rest, surroundings)?, surroundings)
}

/// Adds environment and file to what the flags say.
fn gather(mut settings: Settings, rest: &[String], surroundings: &Surroundings) -> Result<Settings, Refusal> {
    if let Some(word) = rest.first() {
        return Err(Refusal(match OTHER_COMMANDS.contains(&word.as_str()) {
            true => format!("{word:?} is not supported: use a stock etcd for it"),
            false => format!("{word:?} is not a valid flag"),
        }));
    }
    let variables = &surroundings.variables;
    let file = match settings.text(CONFIG_FILE) {
        none if none.is_empty() => variables.get(CONFIG_FILE_VARIABLE).cloned().unwrap_or_default(),
        file => file,
    };
    if file.is_empty() {
        environment::apply(variables, &mut settings)?;
        return Ok(settings);
    }
    let text = std::fs::read_to_string(&file).map_err(|error| Refusal(format!("open {file}: {error}")))?;
    let mut settings = config_file::parse(&text)?;
    settings.remark(format!(
        "loaded server configuration from {file}; other flags and environment variables are ignored"
    ));
    Ok(settings)
}

fn check(settings: Settings, surroundings: &Surroundings) -> Result<Options, Refusal> {
    let options = Options::new(settings, surroundings.host.as_deref())?;
    validation::validate(&options)?;
    // The cluster is looked at once; a member that is one has it in its data.
    if !options.data_dir.join("CURRENT").exists() {
        validation::data_of_another(&options)?;
        validation::bootstrap(&options, |host| {
            let mut found: Vec<String> = host
                .to_socket_addrs()?
                .map(|address| address.to_string())
                .collect();
            found.sort();
            found.dedup();
            Ok(found)
        })?;
    }
    Ok(options)
}

/// A member in the foreground, until SIGTERM or SIGINT. `program` is how it was called, `arguments` are
/// those behind it.
pub fn main(program: &str, arguments: &[String]) -> ExitCode {
    if let [command, flags @ ..] = arguments
        && command == gateway::COMMAND
    {
        return gateway::main(program, flags);
    }
    let mut settings = Settings::default();
    let rest = match command_line::parse(arguments, &mut settings) {
        Ok(rest) => rest,
        Err(ArgumentError::Help) => {
            print!("{}", help::usage(program));
            return ExitCode::SUCCESS;
        }
        Err(ArgumentError::Bad(text)) => {
            eprintln!("{text}\nSee '{program} --help'.");
            return ExitCode::from(USAGE_EXIT);
        }
    };
    if settings.bool("version") {
        print!("{}", help::version());
        return ExitCode::SUCCESS;
    }
    let (env, surroundings) = (Env::production(), Surroundings::of_process());
    match prepare(settings, rest, &surroundings, &env).map(|config| run(config, env, &surroundings)) {
        Ok(Ok(())) => ExitCode::SUCCESS,
        Ok(Err(error)) => {
            tracing::error!(error = chain(error.as_ref()), "the member has failed");
            ExitCode::FAILURE
        }
        Err(refusal) => {
            // Nothing is written twice: this is the first log there is, unless the refusal came late.
            telemetry::init(telemetry::Format::Etcd);
            tracing::error!(error = %refusal, "failed to verify flags");
            ExitCode::FAILURE
        }
    }
}

fn prepare(
    settings: Settings,
    rest: &[String],
    surroundings: &Surroundings,
    env: &Env,
) -> Result<MemberConfig, Refusal> {
    let settings = gather(settings, rest, surroundings)?;
    telemetry::init_with(&logging::of(&settings)).map_err(|error| Refusal(error.to_string()))?;
    let options = check(settings, surroundings)?;
    announce(&options);
    for remark in options.check_supported()? {
        tracing::warn!("{remark}");
    }
    options.member(env)
}

/// Says with what the member starts, by the names of the flags (etcd `embed/etcd.go`, `print`).
fn announce(options: &Options) {
    let settings = &options.settings;
    let number = |name: &str| settings.uint(name);
    tracing::info!(
        name = options.name,
        "data-dir" = %options.data_dir.display(),
        "listen-peer-urls" = joined(&options.listen_peer),
        "initial-advertise-peer-urls" = joined(&options.advertise_peer),
        "listen-client-urls" = joined(&options.listen_client),
        "advertise-client-urls" = joined(options.advertise_client.as_deref().unwrap_or_default()),
        "listen-metrics-urls" = joined(&options.listen_metrics),
        "initial-cluster" = settings.text("initial-cluster"),
        "initial-cluster-state" = settings.text("initial-cluster-state"),
        "initial-cluster-token" = settings.text("initial-cluster-token"),
        "snapshot-count" = number("snapshot-count"),
        "snapshot-catchup-entries" = number("snapshot-catchup-entries"),
        "max-request-bytes" = number("max-request-bytes"),
        "max-txn-ops" = number("max-txn-ops"),
        "quota-backend-bytes" = settings.int("quota-backend-bytes"),
        "starting a member"
    );
}

fn joined(urls: &[Url]) -> String {
    let texts: Vec<String> = urls.iter().map(ToString::to_string).collect();
    texts.join(",")
}

fn run(config: MemberConfig, env: Env, surroundings: &Surroundings) -> Result<(), Box<dyn Error>> {
    let runtime = Builder::new_multi_thread()
        .worker_threads(worker_threads())
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let cancel = support::asked_to_stop()?;
        let member = Member::new(config, env)?;
        let (ready, manager) = (
            member.ready(),
            surroundings.variables.get(NOTIFY_VARIABLE).cloned(),
        );
        tokio::spawn(async move {
            ready.cancelled().await;
            if let Some(Err(error)) = manager.map(|socket| readiness::notify(&socket)) {
                tracing::warn!(%error, "failed to notify the service manager");
            }
        });
        member.run(cancel).await?;
        tracing::info!("stopped in order");
        Ok(())
    })
}

/// An error with its sources, in one line.
fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}
