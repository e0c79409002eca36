//! The group without sockets: time is a number that the tests choose.

use super::*;

const SESSION: Duration = Duration::from_secs(10);
const REBALANCE: Duration = Duration::from_secs(60);

/// A group, and the time that passes for it.
struct Play {
    group: Group,
    now: Instant,
    ids: u32,
}

impl Play {
    fn new() -> Self {
        Self { group: Group::new(), now: Instant::now(), ids: 0 }
    }

    fn pass(&mut self, time: Duration) {
        self.now += time;
        self.group.advance(self.now);
    }

    fn request(&mut self, member_id: &str, instance: Option<&str>, protocols: &[&str]) -> Join {
        let protocols = protocols.iter().map(|name| Protocol {
            name: (*name).to_owned(),
            metadata: Bytes::from_static(b"topics"),
        });
        Join {
            member_id: member_id.to_owned(),
            instance_id: instance.map(str::to_owned),
            client_id: "test".into(),
            client_host: "/127.0.0.1".into(),
            session_timeout: SESSION,
            rebalance_timeout: REBALANCE,
            protocol_type: "consumer".into(),
            protocols: protocols.collect(),
            id_first: false,
        }
    }

    fn send(&mut self, join: Join) -> Result<JoinStep, Refusal> {
        self.ids += 1;
        let id = format!("m{}", self.ids);
        self.group.advance(self.now);
        let step = self.group.join(join, id, Duration::from_secs(3), self.now);
        self.group.advance(self.now);
        step
    }

    /// Joins, and returns the id under which the member waits.
    fn join(&mut self, member_id: &str) -> String {
        let request = self.request(member_id, None, &["range"]);
        match self.send(request) {
            Ok(JoinStep::Wait { member_id, .. }) => member_id,
            other => panic!("{other:?}"),
        }
    }

    fn part(&self, member_id: &str) -> Joined {
        self.group.joined(member_id, -1).expect("an answer").expect("a part")
    }

    fn sync(&mut self, member_id: &str, assignments: &[(&str, &'static str)]) -> Option<Bytes> {
        let assignments = assignments.iter();
        let assignments =
            assignments.map(|(id, text)| ((*id).to_owned(), Bytes::from_static(text.as_bytes())));
        let claim = self.claim(member_id);
        let assignments = assignments.collect();
        self.group.sync(claim, Some("range"), assignments, self.now).expect("synced")
    }

    fn claim<'a>(&self, member_id: &'a str) -> Claim<'a> {
        Claim { member_id, instance_id: None, generation: self.group.generation }
    }

    fn heartbeat(&mut self, member_id: &str) -> Result<(), Refusal> {
        let claim = self.claim(member_id);
        self.group.advance(self.now);
        self.group.heartbeat(claim, self.now)
    }

    /// Two members with their assignments; the first one leads.
    fn stable_pair() -> (Self, String, String) {
        let mut play = Self::new();
        let first = play.join("");
        let second = play.join("");
        play.pass(Duration::from_secs(3));
        assert_eq!(play.sync(&second, &[]), None);
        assert_eq!(play.sync(&first, &[("m1", "one"), ("m2", "two")]), Some("one".into()));
        assert_eq!(play.group.synced(&second, 1), Some(Ok("two".into())));
        assert_eq!(play.group.state(), State::Stable);
        (play, first, second)
    }
}

#[test]
fn the_first_members_wait_for_each_other_and_the_leader_learns_of_all() {
    let mut play = Play::new();
    let first = play.join("");
    play.pass(Duration::from_secs(2));
    let second = play.join("");
    assert_eq!(play.group.joined(&first, 0), None);
    play.pass(Duration::from_secs(1));
    let leader = play.part(&first);
    assert_eq!((leader.generation, leader.leader.as_str()), (1, "m1"));
    let members: Vec<_> = leader.members.iter().map(|(id, ..)| id.as_str()).collect();
    assert_eq!(members, ["m1", "m2"]);
    assert_eq!(play.part(&second).members, []);
}

#[test]
fn a_newcomer_makes_everyone_join_again_and_keeps_the_leader() {
    let (mut play, first, second) = Play::stable_pair();
    let third = play.join("");
    assert_eq!(play.heartbeat(&first), Err(Refusal::RebalanceInProgress));
    play.join(&second);
    assert_eq!(play.group.joined(&third, 1), None);
    play.join(&first);
    assert_eq!(play.part(&third).generation, 2);
    assert_eq!(play.part(&third).leader, first);
    assert_eq!(play.part(&first).members.len(), 3);
}

#[test]
fn a_silent_member_goes_and_the_rest_rebalances_without_it() {
    let (mut play, first, second) = Play::stable_pair();
    play.pass(SESSION - Duration::from_secs(1));
    play.heartbeat(&second).unwrap();
    play.pass(Duration::from_secs(1));
    assert_eq!(play.heartbeat(&first), Err(Refusal::UnknownMember));
    assert_eq!(play.heartbeat(&second), Err(Refusal::RebalanceInProgress));
    play.join(&second);
    assert_eq!(play.part(&second).leader, second);
    assert_eq!(play.part(&second).generation, 2);
}

#[test]
fn who_does_not_come_to_a_rebalance_in_time_is_left_out() {
    let (mut play, first, second) = Play::stable_pair();
    let third = play.join("");
    play.join(&first);
    for _ in 0..12 {
        let _ = play.heartbeat(&second);
        play.pass(REBALANCE / 12);
    }
    assert_eq!(play.part(&third).generation, 2);
    assert_eq!(play.heartbeat(&second), Err(Refusal::UnknownMember));
}

#[test]
fn members_that_wait_for_an_answer_do_not_expire() {
    let (mut play, first, second) = Play::stable_pair();
    let third = play.join("");
    play.join(&first);
    // The second one comes late but lives.
    for _ in 0..5 {
        play.pass(SESSION / 2);
        assert_eq!(play.heartbeat(&second), Err(Refusal::RebalanceInProgress));
    }
    play.join(&second);
    assert_eq!(play.sync(&third, &[]), None);
    for _ in 0..5 {
        play.pass(SESSION / 2);
        play.heartbeat(&first).unwrap();
        play.heartbeat(&second).unwrap();
    }
    play.sync(&first, &[("m3", "three")]);
    assert_eq!(play.group.synced(&third, 2), Some(Ok("three".into())));
}

#[test]
fn a_leader_that_never_assigns_is_removed() {
    let mut play = Play::new();
    let first = play.join("");
    let second = play.join("");
    play.pass(Duration::from_secs(3));
    assert_eq!(play.sync(&second, &[]), None);
    for _ in 0..12 {
        play.heartbeat(&first).unwrap();
        play.pass(REBALANCE / 12);
    }
    assert_eq!(play.heartbeat(&first), Err(Refusal::UnknownMember));
    assert_eq!(play.group.synced(&second, 1), Some(Err(Refusal::RebalanceInProgress)));
    play.join(&second);
    assert_eq!(play.part(&second).leader, second);
}

#[test]
fn the_last_one_to_leave_leaves_nothing_behind() {
    let (mut play, first, second) = Play::stable_pair();
    play.group.leave(&first, None, play.now).unwrap();
    play.group.leave(&second, None, play.now).unwrap();
    assert_eq!(play.group.leave(&second, None, play.now), Err(Refusal::UnknownMember));
    play.pass(Duration::ZERO);
    assert_eq!(play.group.state(), State::Empty);
    assert!(play.group.is_abandoned());
}

#[test]
fn a_promised_id_holds_the_rebalance_up_until_it_is_used_or_too_old() {
    for comes in [true, false] {
        let mut play = Play::new();
        let request = Join { id_first: true, ..play.request("", None, &["range"]) };
        assert_eq!(play.send(request), Ok(JoinStep::Promised("m1".into())));
        let other = play.join("");
        play.pass(Duration::from_secs(5));
        assert_eq!(play.group.joined(&other, 0), None);
        if comes {
            play.join("m1");
        } else {
            play.pass(SESSION);
            let request = play.request("m1", None, &["range"]);
            assert_eq!(play.send(request), Err(Refusal::UnknownMember));
        }
        assert_eq!(play.part(&other).generation, 1);
    }
}

#[test]
fn a_static_member_takes_its_place_again_and_fences_its_former_self() {
    let mut play = Play::new();
    let request = play.request("", Some("fixed"), &["range"]);
    play.send(request.clone()).unwrap();
    let follower = play.join("");
    play.pass(Duration::from_secs(3));
    play.sync(&follower, &[]);
    play.sync("m1", &[("m1", "one"), ("m2", "two")]);
    let back = play.send(request.clone());
    let Ok(JoinStep::Unchanged(part)) = back else { panic!("{back:?}") };
    assert_eq!((part.member_id.as_str(), part.generation), ("m3", 1));
    // Told that it follows, or it would assign anew.
    assert_eq!((part.leader.as_str(), part.members.len()), ("m1", 0));
    assert_eq!(play.sync("m3", &[]), Some("one".into()));
    play.heartbeat(&follower).unwrap();
    let claim = Claim { instance_id: Some("fixed"), ..play.claim("m1") };
    assert_eq!(play.group.heartbeat(claim, play.now), Err(Refusal::FencedInstance));
    let former = Join { member_id: "m1".into(), ..request.clone() };
    assert_eq!(play.send(former), Err(Refusal::FencedInstance));
    // With another protocol it does not get by without a rebalance.
    let changed = play.request("", Some("fixed"), &["range", "sticky"]);
    assert!(matches!(play.send(changed), Ok(JoinStep::Wait { generation: 1, .. })));
    assert_eq!(play.group.leave("", Some("fixed"), play.now), Ok(()));
    assert_eq!(play.group.leave("", Some("fixed"), play.now), Err(Refusal::UnknownMember));
}

#[test]
fn the_protocol_is_one_that_all_support() {
    let mut play = Play::new();
    for protocols in [&["sticky", "range"][..], &["range", "sticky"], &["range"]] {
        let request = play.request("", None, protocols);
        play.send(request).unwrap();
    }
    let request = play.request("", None, &["sticky"]);
    assert_eq!(play.send(request), Err(Refusal::InconsistentProtocol));
    let request = Join { protocol_type: "connect".into(), ..play.request("", None, &["range"]) };
    assert_eq!(play.send(request), Err(Refusal::InconsistentProtocol));
    play.pass(Duration::from_secs(3));
    assert_eq!(play.group.protocol(), "range");
}

#[test]
fn only_members_of_the_present_generation_commit() {
    let (mut play, first, second) = Play::stable_pair();
    let check = |play: &mut Play, claim: Claim<'_>, expected| {
        assert_eq!(play.group.check_commit(claim, play.now), expected);
    };
    let claim = play.claim(&first);
    check(&mut play, claim, Ok(()));
    check(&mut play, Claim { generation: 0, ..claim }, Err(Refusal::IllegalGeneration));
    check(&mut play, Claim { generation: -1, ..claim }, Err(Refusal::IllegalGeneration));
    check(&mut play, Claim { member_id: "m9", ..claim }, Err(Refusal::UnknownMember));
    play.join("");
    // Who hands its partitions over commits first.
    check(&mut play, claim, Ok(()));
    play.join(&first);
    play.join(&second);
    check(&mut play, claim, Err(Refusal::IllegalGeneration));
    let claim = play.claim(&first);
    check(&mut play, claim, Err(Refusal::RebalanceInProgress));
    let simple = Claim { member_id: "", instance_id: None, generation: -1 };
    check(&mut play, simple, Err(Refusal::UnknownMember));
    assert_eq!(Group::new().check_commit(simple, play.now), Ok(()));
}

#[test]
fn the_size_of_a_group_is_bounded() {
    let mut play = Play::new();
    for _ in 0..MEMBERS_MAX {
        play.join("");
    }
    let request = play.request("", None, &["range"]);
    assert_eq!(play.send(request), Err(Refusal::Full));
}

#[test]
fn who_waits_knows_when_to_look_again() {
    let (mut play, first, _) = Play::stable_pair();
    assert_eq!(play.group.next_deadline(play.now), Some(play.now + SESSION));
    play.join("");
    play.join(&first);
    // The second one's session ends before the time to rebalance does.
    assert_eq!(play.group.next_deadline(play.now), Some(play.now + SESSION));
    assert_eq!(Group::new().next_deadline(play.now), None);
}
