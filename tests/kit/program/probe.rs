//! The one program of the kit's own image: says what it sees and ends as it is told.
//!
//! Linked statically and needing nothing else, so that an image of a single file runs. Without
//! arguments it greets, which is what the demo shows.

use std::io::{Read, Write};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::ExitCode;

fn main() -> ExitCode {
    let words: Vec<String> =
        std::env::args_os().skip(1).map(|word| word.to_string_lossy().into_owned()).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    match run(&words) {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            eprintln!("probe: {error}");
            ExitCode::from(70)
        }
    }
}

fn run(words: &[&str]) -> std::io::Result<u8> {
    let mut out = std::io::stdout().lock();
    match words {
        [] | ["greet", ..] => {
            let from = std::fs::read_to_string("/etc/motd").unwrap_or_default();
            writeln!(out, "Hello from inside the container. {}", from.trim_end())?;
        }
        ["args", rest @ ..] => rest.iter().try_for_each(|word| writeln!(out, "{word}"))?,
        ["env"] => {
            for (key, value) in std::env::vars_os() {
                writeln!(out, "{}={}", key.to_string_lossy(), value.to_string_lossy())?;
            }
        }
        ["env", name] => match std::env::var_os(name) {
            Some(value) => writeln!(out, "{}", value.to_string_lossy())?,
            None => return Ok(1),
        },
        ["pwd"] => writeln!(out, "{}", std::env::current_dir()?.display())?,
        ["exit", code] => return Ok(code.parse().unwrap_or(71)),
        ["abort"] => std::process::abort(),
        ["pid"] => writeln!(out, "{}", std::process::id())?,
        ["status", field] => {
            let status = std::fs::read_to_string("/proc/self/status")?;
            let prefix = format!("{field}:");
            let found = status.lines().find_map(|line| line.strip_prefix(&prefix));
            writeln!(out, "{}", found.unwrap_or("").split_whitespace().collect::<Vec<_>>().join(" "))?;
        }
        ["cat"] => {
            let mut input = Vec::new();
            std::io::stdin().lock().read_to_end(&mut input)?;
            out.write_all(&input)?;
        }
        ["cat", paths @ ..] => {
            for path in paths {
                out.write_all(&std::fs::read(path)?)?;
            }
        }
        ["at", path, offset, count] => {
            use std::os::unix::fs::FileExt;
            let number = |text: &str| text.parse::<u64>().unwrap_or_default();
            let mut bytes = vec![0; number(count) as usize];
            std::fs::File::open(path)?.read_exact_at(&mut bytes, number(offset))?;
            out.write_all(&bytes)?;
        }
        ["write", path, text] => std::fs::write(path, text)?,
        ["ls", path] => {
            let mut names: Vec<String> = Vec::new();
            for entry in std::fs::read_dir(path)? {
                names.push(entry?.file_name().to_string_lossy().into_owned());
            }
            names.sort();
            names.iter().try_for_each(|name| writeln!(out, "{name}"))?;
        }
        ["walk", path] => {
            // Looks at everything below, says how much that was, and stays until its input ends.
            let (mut count, mut left) = (0_u64, vec![std::path::PathBuf::from(path)]);
            while let Some(directory) = left.pop() {
                for entry in std::fs::read_dir(directory)? {
                    let path = entry?.path();
                    count += 1;
                    if path.symlink_metadata()?.is_dir() {
                        left.push(path);
                    }
                }
            }
            writeln!(out, "{count}")?;
            out.flush()?;
            std::io::stdin().lock().read_to_end(&mut Vec::new())?;
        }
        ["stat", path] => {
            let found = Path::new(path).symlink_metadata()?;
            let (mode, uid, gid) = (found.mode(), found.uid(), found.gid());
            writeln!(out, "{mode:o} {uid} {gid} {} {}", found.len(), found.mtime())?;
        }
        ["wait"] => {
            // Says that it runs, then stays until its input ends.
            writeln!(out, "ready")?;
            out.flush()?;
            std::io::stdin().lock().read_to_end(&mut Vec::new())?;
        }
        ["late", paths @ ..] => {
            // The same, and then shows files.
            writeln!(out, "ready")?;
            out.flush()?;
            std::io::stdin().lock().read_to_end(&mut Vec::new())?;
            for path in paths {
                out.write_all(&std::fs::read(path)?)?;
            }
        }
        ["park"] => {
            writeln!(out, "ready")?;
            out.flush()?;
            loop {
                std::thread::park();
            }
        }
        _ => {
            eprintln!("probe: unknown words: {words:?}");
            return Ok(72);
        }
    }
    Ok(0)
}
