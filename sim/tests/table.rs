//! The behaviour table, as the README shows it.

use std::path::Path;

use downbeat_sim::table;

#[test]
fn the_readme_shows_the_table_that_the_command_prints() {
    let rows = table::rows().unwrap();
    let markdown = table::markdown(&rows);
    let readme = Path::new(env!("CARGO_MANIFEST_DIR")).join("../README.md");
    let readme = std::fs::read_to_string(readme).unwrap();
    assert!(
        readme.contains(&markdown),
        "README.md should show what `downbeat-sim table --markdown` prints:\n{markdown}"
    );
}

#[test]
fn downbeat_loses_nothing_where_the_ruby_sdk_does() {
    let rows = table::rows().unwrap();
    assert!(rows.iter().filter(|row| row.policy == "downbeat").all(|row| row.results_lost == 0), "{rows:?}");
    assert!(rows.iter().any(|row| row.policy == "ruby-sdk" && row.results_lost > 0), "{rows:?}");
}
