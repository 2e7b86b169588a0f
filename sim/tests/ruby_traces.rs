//! `Policy::ruby_sdk()` makes the calls of the original Ruby class, at the same millisecond.

use downbeat_sim::conform;

#[test]
fn every_trace_of_the_ruby_class_is_reproduced() {
    let cases = conform::parse(include_str!("../../tests/vectors/ruby-traces.json")).unwrap();
    assert_eq!(cases.len(), 19);
    for case in &cases {
        if let Err(divergence) = conform::check(case) {
            panic!("{}: {divergence}", case.name);
        }
    }
}
