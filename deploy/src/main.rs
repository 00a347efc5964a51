//! The `trireme` binary: every role of the plane, and local clusters made of them.
//!
//! Roles run in the foreground and are given everything by flags; the commands for local clusters start
//! roles in the background, each node in a network namespace of its own.

mod api;
mod balancer;
mod cli;
mod cluster;
mod command;
mod files;
mod health;
mod image;
mod join;
mod kubeconfig;
mod leftovers;
mod logs;
mod network;
mod pki;
mod preflight;
mod process;
mod profile;
mod roles;
mod service;
mod steps;

use anyhow::Context as _;
use clap::Parser as _;
use cli::{Cli, Command, Image, MakeKeys, Node, Profile, Token};
use cluster::Cluster;
use pki::{Holder, Pki};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use support::Env;
use tokio::runtime::{Builder, Runtime};

/// Called by this name, as through a link, the binary is a store member: it stands in for etcd's.
const ETCD: &str = "etcd";

/// The command of a store about backups.
const SNAPSHOT: &str = "snapshot";

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let mut arguments = std::env::args_os();
    let program = arguments.next().map(PathBuf::from).unwrap_or_default();
    if program.file_name().is_some_and(|name| name == ETCD) {
        let arguments: Vec<String> = arguments
            .map(|argument| argument.to_string_lossy().into_owned())
            .collect();
        return store(ETCD, &arguments);
    }
    let cli = Cli::parse();
    match run(cli.command) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("trireme: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(command: Command) -> anyhow::Result<ExitCode> {
    let done = match command {
        Command::Up(options) => commands()?.block_on(cluster::up(&options)),
        Command::Start(selected) => commands()?.block_on(cluster::start(&selected.profile)),
        Command::Stop(selected) => commands()?.block_on(cluster::stop(&selected.profile)),
        Command::Delete(selected) => commands()?.block_on(cluster::delete(&selected.profile)),
        Command::Status(options) => {
            return commands()?.block_on(health::status(&options.selected.profile, options.output));
        }
        Command::Logs(options) => commands()?.block_on(logs::show(&options)),
        Command::Service(options) => commands()?.block_on(service::show(&options)),
        Command::Image(Image::Load { selected, archive }) => {
            Cluster::open(&selected.profile).and_then(|cluster| cluster.load_image(&archive))
        }
        Command::Image(Image::List { selected }) => list_images(&selected.profile),
        Command::Node(Node::List { selected }) => list_nodes(&selected.profile),
        Command::Node(Node::Add { selected }) => commands()?.block_on(cluster::add_node(&selected.profile)),
        Command::Node(Node::Remove { selected, name }) => {
            commands()?.block_on(cluster::remove_node(&selected.profile, &name))
        }
        Command::Profile(Profile::List) => commands()?.block_on(list_profiles()),
        Command::Token(Token::Create { selected, hours }) => {
            commands()?.block_on(create_token(&selected.profile, hours))
        }
        Command::Keys(options) => make_keys(&options),
        Command::Server(options) => roles::run(|cancel| roles::server(options, cancel)),
        Command::Kvstore(options) => return Ok(store("trireme kvstore", &options.arguments)),
        Command::Apiserver(options) => roles::run(|cancel| roles::apiserver(options, cancel)),
        Command::Scheduler(options) => roles::run(|cancel| roles::scheduler(options, cancel)),
        Command::Controllers(options) => roles::run(|cancel| roles::controllers(options, cancel)),
        Command::Agent(options) => roles::run(|cancel| roles::agent(options, cancel)),
        Command::Balancer(options) => roles::run(|cancel| balancer::run(options, cancel)),
    };
    done.map(|()| ExitCode::SUCCESS)
}

/// Flags make a member; a first word that is no flag is a command about stores.
fn store(program: &str, arguments: &[String]) -> ExitCode {
    match arguments.split_first() {
        Some((word, rest)) if word == SNAPSHOT => {
            kvstore_backup_cli::main(&format!("{program} {SNAPSHOT}"), rest)
        }
        _ => kvstore_cli::main(program, arguments),
    }
}

/// Commands wait much and work little: one thread.
fn commands() -> anyhow::Result<Runtime> {
    Builder::new_current_thread()
        .enable_all()
        .build()
        .context("starting the runtime")
}

fn make_keys(options: &MakeKeys) -> anyhow::Result<()> {
    let (env, pki) = (Env::production(), Pki::new(&options.keys.pki));
    pki.ensure(&options.addresses, &env.random, env.clock.now())?;
    let first = options.addresses.first().context("an address is required")?;
    let path = options.keys.pki.join("admin.conf");
    let entry = kubeconfig::Entry {
        name: "trireme",
        server: &format!("{first}:6443"),
        ca_pem: &pki.ca()?,
        identity: &pki.identity(Holder::Admin)?,
    };
    kubeconfig::add(&path, &entry)?;
    println!(
        "keys are in {}; kubectl --kubeconfig {}",
        options.keys.pki.display(),
        path.display()
    );
    Ok(())
}

fn list_images(profile: &str) -> anyhow::Result<()> {
    let cluster = Cluster::open(profile)?;
    for node in &cluster.profile.nodes {
        for name in
            image::list(&cluster.runtime_socket(node)).with_context(|| format!("node {}", node.name))?
        {
            println!("{:<20} {name}", node.name);
        }
    }
    Ok(())
}

fn list_nodes(profile: &str) -> anyhow::Result<()> {
    let cluster = Cluster::open(profile)?;
    for node in &cluster.profile.nodes {
        println!("{:<20} {}", node.name, cluster.profile.node_address(node));
    }
    Ok(())
}

async fn list_profiles() -> anyhow::Result<()> {
    for profile in profile::list()? {
        let cluster = Cluster::open(&profile.name)?;
        println!(
            "{:<20} {:<10} {} node(s), https://{}",
            profile.name,
            health::word(&cluster).await,
            profile.nodes.len(),
            profile.api_address()
        );
    }
    Ok(())
}

async fn create_token(profile: &str, hours: u32) -> anyhow::Result<()> {
    let cluster = Cluster::open(profile)?;
    println!("{}", cluster.token(&cluster.client()?, hours).await?);
    Ok(())
}

/// The whole content of `path`, or of standard input for `-`.
fn read_archive(path: &Path) -> anyhow::Result<Vec<u8>> {
    if path == Path::new("-") {
        let mut bytes = Vec::new();
        std::io::Read::read_to_end(&mut std::io::stdin(), &mut bytes).context("reading standard input")?;
        return Ok(bytes);
    }
    std::fs::read(path).with_context(|| format!("reading {}", path.display()))
}
