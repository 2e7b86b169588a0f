//! R-TOKEN-1, R-TOKEN-2.

use std::time::Duration;

use downbeat_server::model::{Backend, Definition, Refusal, Server, Setup};

use crate::support::{SECOND, UNIT, at, server, ticket};

fn guarded() -> Server {
    let setup = Setup { seed: 7, backend: Backend::Redis, update_v2: true, token_life: Some(SECOND) };
    Server::new(setup, vec![Definition::default()])
}

#[test]
fn without_authentication_there_is_no_token_and_none_is_wanted() {
    let mut server = server(Backend::Redis, Definition::default());
    assert_eq!(server.issue_token(at(0), 0), None);
    assert_eq!(server.check_token(at(0), 0, Some(99)), Ok(()));
}

#[test]
fn a_token_is_good_until_its_end() {
    let mut server = guarded();
    let token = server.issue_token(at(0), 0);
    assert_eq!(server.check_token(at(1_000).saturating_sub(UNIT), 0, token), Ok(()));
    assert_eq!(server.check_token(at(1_000), 0, token), Err(Refusal::Unauthorized));
    let refused = server.poll(at(1_000), ticket(1), token, 0, 1, Duration::ZERO);
    assert_eq!(refused, Err(Refusal::Unauthorized));
}

#[test]
fn two_tokens_are_good_side_by_side_until_they_are_revoked() {
    let mut server = guarded();
    let tokens = [server.issue_token(at(0), 0), server.issue_token(at(1), 0)];
    for token in tokens {
        assert_eq!(server.check_token(at(2), 0, token), Ok(()));
    }
    server.revoke_tokens();
    for token in tokens {
        assert_eq!(server.check_token(at(3), 0, token), Err(Refusal::Unauthorized));
    }
    assert_eq!(server.check_token(at(3), 0, None), Err(Refusal::Unauthorized));
}
