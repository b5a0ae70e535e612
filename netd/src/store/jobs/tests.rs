//! Facts about captures that wait, and what came of them.

use super::*;

fn spooled(folder: &Path) -> usize {
    fs::read_dir(folder.join(FOLDER)).unwrap().count()
}

fn submit(jobs: &Jobs) -> Job {
    let mut arriving = jobs.arrive().unwrap();
    arriving.write(b"capture").unwrap();
    arriving.submit(Vec::new())
}

#[test]
fn captures_are_handed_out_in_order_and_gone_when_they_were_replayed() {
    let folder = tempfile::tempdir().unwrap();
    let (jobs, queue) = Jobs::open(folder.path()).unwrap();
    let (first, second) = (submit(&jobs), submit(&jobs));

    let work = queue.next().unwrap();
    assert_eq!((work.job.id, jobs.get(first.id).unwrap().state), (first.id, State::Running));
    queue.finish(work, Outcome::default());

    assert_eq!((jobs.get(first.id).unwrap().state, jobs.get(second.id).unwrap().state), (State::Done, State::Queued));
    assert_eq!(spooled(folder.path()), 1);
    assert_eq!(jobs.list().iter().map(|job| job.id).collect::<Vec<_>>(), [second.id, first.id]);
}

#[test]
fn only_so_many_wait_and_one_that_was_not_submitted_gives_its_place_back() {
    let folder = tempfile::tempdir().unwrap();
    let (jobs, _queue) = Jobs::open(folder.path()).unwrap();
    let arriving = jobs.arrive().unwrap();
    let waiting: Vec<_> = (1..WAITING).map(|_| submit(&jobs)).collect();

    assert!(matches!(jobs.arrive(), Err(Error::Busy)));
    drop(arriving);
    assert_eq!(spooled(folder.path()), waiting.len());
    submit(&jobs);
    assert!(matches!(jobs.arrive(), Err(Error::Busy)));
    jobs.remove(waiting[0].id).unwrap();
    assert!(jobs.arrive().is_ok());
    assert!(matches!(Jobs::default().arrive(), Err(Error::Nowhere)));
}

#[test]
fn what_is_cancelled_is_stopped_forgotten_and_removed() {
    let folder = tempfile::tempdir().unwrap();
    let (jobs, queue) = Jobs::open(folder.path()).unwrap();
    let (running, waiting) = (submit(&jobs), submit(&jobs));
    let work = queue.next().unwrap();

    assert_eq!(jobs.remove(running.id).unwrap().state, State::Running);
    assert_eq!(jobs.remove(waiting.id).unwrap().state, State::Queued);

    assert!(work.watch().is_stopped());
    queue.finish(work, Outcome::default());
    assert!(jobs.list().is_empty() && jobs.remove(running.id).is_none());
    assert_eq!(spooled(folder.path()), 0);
}

#[test]
fn of_those_that_are_over_the_oldest_are_forgotten() {
    let folder = tempfile::tempdir().unwrap();
    let (jobs, queue) = Jobs::open(folder.path()).unwrap();
    let first = submit(&jobs);
    for _ in 0..KEPT {
        queue.finish(queue.next().unwrap(), Outcome::default());
        submit(&jobs);
    }
    assert!(jobs.get(first.id).is_some());

    queue.finish(queue.next().unwrap(), Outcome::default());

    assert!(jobs.get(first.id).is_none() && jobs.list().len() == KEPT);
}

#[test]
fn the_end_of_netd_wakes_whoever_waits_and_a_start_removes_what_was_left() {
    let folder = tempfile::tempdir().unwrap();
    let (jobs, queue) = Jobs::open(folder.path()).unwrap();
    let waits = std::thread::spawn(move || queue.next().is_none());
    jobs.close();
    assert!(waits.join().unwrap());
    assert!(matches!(jobs.arrive(), Err(Error::Busy)));
    fs::write(folder.path().join(FOLDER).join("old.capture"), "x").unwrap();

    let _jobs = Jobs::open(folder.path()).unwrap();

    assert_eq!(spooled(folder.path()), 0);
}
