//! Debian's compiler with a library that is `core` alone: what firmware and WebAssembly are built by.
//!
//! The compiler of `rust-toolchain`'s kind has no library for these targets here, and Debian ships compiler and
//! library source of one version. The library is built once per version, without `alloc` and `std`, so that code
//! which needs either does not compile. The firmware itself is then built as stable Rust.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::process::{Context, Failure, capture, command, on_path, run, target};

/// A microcontroller without an operating system: Cortex-M3.
pub(crate) const CORTEX_M3: &str = "thumbv7m-none-eabi";
/// WebAssembly without an operating system.
pub(crate) const WASM: &str = "wasm32-unknown-unknown";

const RUSTC: &str = "/usr/bin/rustc";
const CARGO: &str = "/usr/bin/cargo";
const SOURCE: &str = "/usr/lib/rustlib/src/rust";
const PACKAGES: &str = "apt-get install --no-install-recommends rustc-web cargo-web rust-web-src";

/// A compiler with a library for one target.
pub(crate) struct Toolchain {
    target: &'static str,
    /// Holds one version's library, and what was built with it.
    home: PathBuf,
    linker: PathBuf,
}

/// What this machine lacks to build for a bare target; `None` if nothing.
pub(crate) fn missing() -> Option<String> {
    [RUSTC, CARGO, SOURCE]
        .iter()
        .find(|path| !Path::new(path).exists())
        .map(|path| format!("{path} is missing: {PACKAGES}"))
}

/// The toolchain for a target; its library is built first where that was not done for this version.
pub(crate) fn prepare(name: &'static str) -> Result<Toolchain, Failure> {
    if let Some(lack) = missing() {
        return Err(Failure::new(lack));
    }
    let release = release()?;
    let source = std::fs::canonicalize(SOURCE).context(|| SOURCE.to_owned())?;
    let of = source.file_name().and_then(|name| name.to_str()).and_then(|name| name.strip_prefix("rustc-"));
    if of != Some(release.as_str()) {
        return Err(Failure::new(format!(
            "{RUSTC} is {release}, and the library's source {}: they must be of one version; {PACKAGES}",
            source.display()
        )));
    }
    let home = target().join("bare").join(format!("{release}-small"));
    let toolchain = Toolchain { target: name, home, linker: linker()? };
    toolchain.build_library()?;
    toolchain.refuses_alloc()?;
    Ok(toolchain)
}

impl Toolchain {
    /// Builds one target of a package in release mode; `args` are cargo's, `link_args` the linker's, `env` for
    /// `option_env!`.
    pub(crate) fn build(
        &self,
        package: &Path,
        args: &[&str],
        link_args: &[&str],
        env: &[(&str, &str)],
    ) -> Result<(), Failure> {
        run(&mut self.rustc(package, args, link_args, env))
    }

    /// The same build where it must fail; what was said, or the failure that it did not.
    pub(crate) fn refuses(
        &self,
        package: &Path,
        args: &[&str],
        link_args: &[&str],
        env: &[(&str, &str)],
    ) -> Result<String, Failure> {
        let (ok, text) = capture(&mut self.rustc(package, args, link_args, env))?;
        if ok { Err(Failure::new(format!("this was linked: {}", link_args.join(" ")))) } else { Ok(text) }
    }

    /// The linker's arguments are for the last step alone, so that libraries are built once for all of them.
    fn rustc(&self, package: &Path, args: &[&str], link_args: &[&str], env: &[(&str, &str)]) -> Command {
        let mut cargo = self.cargo(package);
        cargo.envs(env.iter().copied());
        cargo.args(["rustc", "--release", "--quiet", "--locked"]).args(args).arg("--");
        cargo.args(link_args.iter().map(|arg| format!("-Clink-arg={arg}")));
        cargo
    }

    /// Compiles a package's library to one object, with the versions of its lock and whatever is left out of that.
    pub(crate) fn object(&self, package: &Path, object: &Path) -> Result<(), Failure> {
        let mut cargo = self.cargo(package);
        cargo.args(["rustc", "--release", "--quiet", "--offline", "--lib", "--"]);
        run(cargo.arg(format!("--emit=obj={}", object.display())))
    }

    /// A folder for a package that is made up.
    pub(crate) fn scratch(&self, name: &str) -> PathBuf {
        self.home.join(name)
    }

    /// Where a built program of that name lies.
    pub(crate) fn program(&self, name: &str) -> PathBuf {
        self.home.join("built").join(self.target).join("release").join(name)
    }

    /// Debian's cargo with the bare library, ready for a subcommand. Stable Rust: no `RUSTC_BOOTSTRAP`.
    fn cargo(&self, package: &Path) -> Command {
        let mut cargo = debian_cargo(package);
        let variable = self.target.to_uppercase().replace('-', "_");
        cargo.env("CARGO_BUILD_TARGET", self.target);
        cargo.env("CARGO_TARGET_DIR", self.home.join("built"));
        cargo.env(format!("CARGO_TARGET_{variable}_LINKER"), &self.linker);
        cargo.env(format!("CARGO_TARGET_{variable}_RUSTFLAGS"), self.flags());
        cargo
    }

    fn sysroot(&self) -> PathBuf {
        self.home.join("sysroot")
    }

    fn flags(&self) -> String {
        let own = if self.target == WASM {
            "-C linker-flavor=wasm-ld"
        } else {
            concat!(
                "-C linker-flavor=ld.lld",
                // Equal functions become one.
                " -C link-arg=--icf=all",
                // Of all thresholds tried, this one makes the smallest image.
                " -C llvm-args=-inline-threshold=15",
                // Of all the compiler's switches tried, these three save most: registers are split for size and not for
                // speed, nothing is hoisted out of loops into registers that are then spilled, and blocks are laid out
                // so that fewer jumps are needed. 800 bytes together.
                " -C llvm-args=-split-spill-mode=size",
                " -C llvm-args=-disable-machine-licm",
                " -C llvm-args=-enable-ext-tsp-block-placement=1",
            )
        };
        format!("--sysroot {} {own}", self.sysroot().display())
    }

    /// `core` and `compiler_builtins` for the target. The only build that needs the compiler's unstable options.
    fn build_library(&self) -> Result<(), Failure> {
        let libraries = self.sysroot().join("lib/rustlib").join(self.target).join("lib");
        let ready = libraries.join("ready");
        if ready.exists() {
            return Ok(());
        }
        println!("first use of this compiler: building its `core` for {}", self.target);
        let package = self.home.join("library");
        write(&package.join("src/lib.rs"), "#![no_std]\n")?;
        write(&package.join("Cargo.toml"), EMPTY)?;
        let built = package.join("target");
        let mut build = debian_cargo(&package);
        build.env("RUSTC_BOOTSTRAP", "1").env("CARGO_TARGET_DIR", &built);
        build.env("RUSTFLAGS", "-C embed-bitcode=yes");
        build.args(["build", "--quiet", "--release", "-Zbuild-std=core", "--target", self.target]);
        run(build.arg("-Zbuild-std-features=optimize_for_size"))?;
        std::fs::create_dir_all(&libraries).context(|| format!("making {}", libraries.display()))?;
        let from = built.join(self.target).join("release/deps");
        let files = std::fs::read_dir(&from).context(|| from.display().to_string())?;
        let mut copied = 0_u32;
        for file in files.flatten() {
            let name = file.file_name().to_string_lossy().into_owned();
            let wanted = name.starts_with("libcore-") || name.starts_with("libcompiler_builtins-");
            if wanted && name.ends_with(".rlib") {
                std::fs::copy(file.path(), libraries.join(&name)).context(|| format!("copying {name}"))?;
                copied += 1;
            }
        }
        if copied != 2 {
            return Err(Failure::new(format!("{copied} libraries in {}, not 2", from.display())));
        }
        // What was built with an earlier library does not fit this one.
        drop(std::fs::remove_dir_all(self.home.join("built").join(self.target)));
        write(&ready, "")
    }

    /// The control: a program that asks for `alloc` is refused, and for that reason.
    fn refuses_alloc(&self) -> Result<(), Failure> {
        let file = self.home.join("control.rs");
        write(
            &file,
            "#![no_std]\nextern crate alloc;\npub fn f() -> alloc::vec::Vec<u8> { alloc::vec::Vec::new() }\n",
        )?;
        let mut control = command(RUSTC);
        control.args(["--crate-type", "lib", "--emit", "metadata", "--target", self.target, "--sysroot"]);
        control.arg(self.sysroot()).arg("-o").arg(self.home.join("control.rmeta")).arg(&file);
        let (ok, text) = capture(&mut control)?;
        if ok || !text.contains("can't find crate for `alloc`") {
            return Err(Failure::new(format!(
                "a program that uses `alloc` was not refused for that; delete {} and try again:\n{text}",
                self.home.display()
            )));
        }
        println!("the control, which asks for `alloc`, is refused: {} has `core` alone", self.target);
        Ok(())
    }
}

const EMPTY: &str = "\
[package]
name = \"empty\"
version = \"0.0.0\"
edition = \"2024\"

[workspace]

[profile.release]
opt-level = \"z\"
panic = \"abort\"
";

/// Debian's cargo and compiler, without anything that the cargo which runs this tool has set.
fn debian_cargo(package: &Path) -> Command {
    let mut cargo = Command::new(CARGO);
    for (name, _) in std::env::vars_os() {
        let text = name.to_string_lossy().into_owned();
        if ["CARGO", "RUST", "RUSTUP"].iter().any(|prefix| text.starts_with(prefix)) && text != "CARGO_HOME" {
            cargo.env_remove(&name);
        }
    }
    cargo.env("PATH", "/usr/bin:/bin").env("RUSTC", RUSTC).current_dir(package);
    cargo
}

/// The version of Debian's compiler, `1.96.0`.
fn release() -> Result<String, Failure> {
    let (_, text) = capture(command(RUSTC).arg("-vV"))?;
    text.lines()
        .find_map(|line| line.strip_prefix("release: "))
        .map(str::to_owned)
        .ok_or_else(|| Failure::new(format!("{RUSTC} -vV names no release:\n{text}")))
}

/// The linker that came with the compiler that builds this tool, else Debian's.
fn linker() -> Result<PathBuf, Failure> {
    let (_, text) = capture(command("rustc").args(["--print", "target-libdir"]))?;
    let beside = Path::new(text.trim()).parent().map(|dir| dir.join("bin/rust-lld"));
    beside
        .filter(|lld| lld.exists())
        .or_else(|| on_path("lld").then(|| PathBuf::from("lld")))
        .ok_or_else(|| Failure::new("neither rust-lld beside rustc nor lld was found: apt-get install lld"))
}

/// Writes a file, and its folder where that is missing.
pub(crate) fn write(path: &Path, text: &str) -> Result<(), Failure> {
    let dir = path.parent().unwrap_or(path);
    std::fs::create_dir_all(dir).context(|| format!("making {}", dir.display()))?;
    std::fs::write(path, text).context(|| format!("writing {}", path.display()))
}
