//! Tools for looking around in a pod that has nothing else, and a toy shell over them: words split at
//! blanks, no quoting, no variables, no pipes.

use crate::{http, resolver};
use std::io::{self, BufRead as _, IsTerminal as _, Write as _};
use std::process::{Command, ExitCode};
use std::time::Duration;

const USAGE: &str = "\
tools: print WORDS, cat FILES, ls [FOLDERS], env, hostname, get URL, resolve NAME, sleep SECONDS, exit [CODE], help";

pub fn run(words: &[&str]) -> ExitCode {
    match tool(words) {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            eprintln!("{}: {error}", words.first().unwrap_or(&"hello"));
            ExitCode::FAILURE
        }
    }
}

/// `sh -c LINE`: commands separated by `;` or `&&`; ends with the last one's code.
pub fn run_line(line: &str) -> ExitCode {
    let mut code = ExitCode::SUCCESS;
    for command in line.replace("&&", ";").split([';', '\n']) {
        let words: Vec<&str> = command.split_whitespace().collect();
        match words.as_slice() {
            [] => {}
            ["exit", rest @ ..] => return run(&[&["exit"], rest].concat()),
            words => code = run(words),
        }
    }
    code
}

/// Reads commands until `exit` or the end of input.
pub fn shell() -> ExitCode {
    let mut code = ExitCode::SUCCESS;
    let interactive = io::stdin().is_terminal();
    let mut lines = io::stdin().lock().lines();
    loop {
        if interactive {
            print!("{} $ ", http::name());
            let _closed_output = io::stdout().flush();
        }
        let Some(Ok(line)) = lines.next() else { return code };
        code = run_line(&line);
        if line.split_whitespace().next() == Some("exit") {
            return code;
        }
    }
}

fn tool(words: &[&str]) -> io::Result<u8> {
    let mut out = io::stdout().lock();
    match words {
        ["print" | "echo", rest @ ..] => writeln!(out, "{}", rest.join(" "))?,
        ["cat"] => drop(io::copy(&mut io::stdin().lock(), &mut out)?),
        ["cat", files @ ..] => {
            for file in files {
                io::copy(&mut std::fs::File::open(file)?, &mut out)?;
            }
        }
        ["ls"] => return tool(&["ls", "."]),
        ["ls", folders @ ..] => {
            for folder in folders {
                let mut names = std::fs::read_dir(folder)?
                    .map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()))
                    .collect::<io::Result<Vec<_>>>()?;
                names.sort();
                for name in names {
                    writeln!(out, "{name}")?;
                }
            }
        }
        ["env"] => {
            for (name, value) in std::env::vars() {
                writeln!(out, "{name}={value}")?;
            }
        }
        ["hostname"] => writeln!(out, "{}", http::name())?,
        ["get", url] => {
            let (status, body) = http::get(url)?;
            write!(out, "{body}")?;
            return Ok(u8::from(!status.contains(" 200 ")));
        }
        ["resolve", name] => writeln!(out, "{}", resolver::resolve(name)?)?,
        ["sleep", seconds] => {
            out.flush()?;
            std::thread::sleep(Duration::from_secs_f64(seconds.parse().unwrap_or(0.0)));
        }
        ["true" | ":"] => {}
        ["exit"] => {}
        ["exit", code] => return Ok(code.parse().unwrap_or(2)),
        ["help"] => writeln!(out, "{USAGE}")?,
        [program, args @ ..] if program.starts_with('/') => {
            let status = Command::new(program).args(args).status()?;
            return Ok(u8::try_from(status.code().unwrap_or(1)).unwrap_or(1));
        }
        _ => {
            eprintln!("{USAGE}");
            return Ok(127);
        }
    }
    Ok(0)
}
