//! Links anew when the memory's map changes.

fn main() {
    println!("cargo::rerun-if-changed=memory.x");
}
