//! Whether a program is there, before the first task needs it.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use super::Command;

/// Looks for the program as the system will: in the command's `PATH`, or from its directory if the name
/// contains a slash.
///
/// # Errors
/// What is wrong and what to do about it.
pub(crate) fn find(command: &Command) -> Result<(), String> {
    let shown = command.program.to_string_lossy();
    let path = Path::new(&command.program);
    let cwd = command.cwd.as_deref();
    if let Some(cwd) = cwd.filter(|cwd| !cwd.is_dir()) {
        return Err(format!("there is no directory {}", cwd.display()));
    }
    if shown.contains('/') {
        let full = cwd.map_or_else(|| path.to_path_buf(), |cwd| cwd.join(path));
        return if is_program(&full) {
            Ok(())
        } else if full.exists() {
            Err(format!("`{shown}` is not an executable file; `chmod +x` it or name its interpreter"))
        } else {
            Err(format!("there is no `{}`", full.display()))
        };
    }
    let dirs = match command.env.get("PATH") {
        Some(own) => own.into(),
        None => std::env::var_os("PATH").unwrap_or_default(),
    };
    if std::env::split_paths(&dirs).any(|dir| is_program(&dir.join(path))) {
        return Ok(());
    }
    let here = cwd.unwrap_or_else(|| Path::new(".")).join(path);
    let hint = if is_program(&here) {
        format!("; did you mean `./{shown}`?")
    } else if shown.contains(' ') {
        "; program and arguments are words of their own, not one".to_owned()
    } else {
        String::new()
    };
    Err(format!("there is no program `{shown}` in PATH{hint}"))
}

fn is_program(path: &Path) -> bool {
    path.metadata().is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o111 != 0)
}
