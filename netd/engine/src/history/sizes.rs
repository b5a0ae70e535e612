//! What turns carried: alike or not, and whether larger answers led to larger uploads.

use serde::{Deserialize, Serialize};

use crate::stats;
use crate::time::set_back;

/// Turns whose sizes are remembered.
const RECENT: usize = 16;
/// Candidates for the commonest request size.
const MODES: usize = 6;
/// Turns before tasking can be told from beginnings.
const CALM: u32 = 4;
/// A task's result follows the task within this time.
const RESULT_WITHIN_NS: u64 = 60_000_000_000;

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Sizes {
    requests: [u32; RECENT],
    answers: [u32; RECENT],
    count: u32,
    answered: u32,
    mirrored: u32,
    /// Size and how often, after Misra and Gries, "Finding repeated elements" (1982): a size more frequent than one in
    /// `MODES + 1` is never lost, counts are at most that share too low.
    modes: [(u32, u32); MODES],
    large_answers: u32,
    large_answer_ns: u64,
    large_request_ns: u64,
    tasks: u32,
}

/// Whether the answers to a pair's check-ins look like commands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Tasking {
    pub(crate) tasks: u32,
    pub(crate) larger_answers: u32,
    pub(crate) turns: u32,
}

impl Sizes {
    pub(super) fn set_back(&mut self, by_ns: u64) {
        self.large_answer_ns = set_back(self.large_answer_ns, by_ns);
        self.large_request_ns = set_back(self.large_request_ns, by_ns);
    }

    pub(crate) fn observe(&mut self, at_ns: u64, request: u64, answer: u64) {
        let request = request.min(u64::from(u32::MAX)) as u32;
        let answer = answer.min(u64::from(u32::MAX)) as u32;
        if self.count >= CALM {
            self.look_for_tasks(at_ns, request, answer);
        }
        let slot = self.count as usize % RECENT;
        (self.requests[slot], self.answers[slot]) = (request, answer);
        self.count = self.count.saturating_add(1);
        self.answered = self.answered.saturating_add(u32::from(answer > 0));
        self.mirrored = self.mirrored.saturating_add(u32::from(answer > 0 && answer == request));
        self.count_mode(request);
    }

    fn look_for_tasks(&mut self, at_ns: u64, request: u32, answer: u32) {
        if is_large(answer, self.median_answer()) {
            self.large_answers = self.large_answers.saturating_add(1);
            self.large_answer_ns = at_ns;
        }
        if is_large(request, self.median_request()) {
            self.large_request_ns = at_ns;
        }
        // Either may be known first: connections that overlap report their sizes when they close.
        let (task, result) = (self.large_answer_ns, self.large_request_ns);
        if task != 0 && result >= task && result - task <= RESULT_WITHIN_NS {
            self.tasks = self.tasks.saturating_add(1);
            (self.large_answer_ns, self.large_request_ns) = (0, 0);
        }
    }

    fn count_mode(&mut self, request: u32) {
        if let Some((_, count)) = self.modes.iter_mut().find(|(size, count)| *count > 0 && is_alike(*size, request)) {
            *count = count.saturating_add(1);
        } else if let Some(free) = self.modes.iter_mut().find(|(_, count)| *count == 0) {
            *free = (request, 1);
        } else {
            for (_, count) in &mut self.modes {
                *count -= 1;
            }
        }
    }

    pub(crate) fn count(&self) -> u32 {
        self.count
    }

    /// Returns the commonest request size and its share of all turns.
    pub(crate) fn mode(&self) -> (u32, f64) {
        let (size, count) = self.modes.iter().copied().max_by_key(|(_, count)| *count).unwrap_or_default();
        (size, f64::from(count) / f64::from(self.count.max(1)))
    }

    pub(crate) fn median_request(&self) -> u32 {
        self.median(&self.requests)
    }

    pub(crate) fn median_answer(&self) -> u32 {
        self.median(&self.answers)
    }

    /// Returns the share of turns that were answered.
    pub(crate) fn answered_share(&self) -> f64 {
        f64::from(self.answered) / f64::from(self.count.max(1))
    }

    /// Returns the share of answered turns whose answer was as long as the request.
    pub(crate) fn mirrored_share(&self) -> f64 {
        f64::from(self.mirrored) / f64::from(self.answered.max(1))
    }

    pub(crate) fn tasking(&self) -> Tasking {
        Tasking { tasks: self.tasks, larger_answers: self.large_answers, turns: self.count }
    }

    fn median(&self, of: &[u32; RECENT]) -> u32 {
        let held = (self.count as usize).min(RECENT);
        let mut scratch = [0.0_f32; RECENT];
        for (value, size) in scratch.iter_mut().zip(of) {
            *value = *size as f32;
        }
        stats::median(&mut scratch[..held]).unwrap_or(0.0) as u32
    }
}

/// Clearly more than usual: more than a header's worth, and more than double.
fn is_large(size: u32, usual: u32) -> bool {
    size > usual.saturating_mul(2).saturating_add(128)
}

/// Counters and cookies of varying length change a request by a few bytes.
fn is_alike(a: u32, b: u32) -> bool {
    a.abs_diff(b) <= 8.max(a / 50)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000_000;

    #[test]
    fn equal_requests_have_one_mode_whatever_lies_between() {
        let mut sizes = Sizes::default();
        for n in 0..100_u64 {
            let request = if n % 10 == 9 { 1_000 + 37 * n } else { 310 };
            sizes.observe(n * SECOND, request, 200);
        }

        let (size, share) = sizes.mode();

        assert_eq!(size, 310);
        assert!(share > 0.8, "{share}");
    }

    #[test]
    fn sizes_of_all_kinds_have_no_mode() {
        let mut sizes = Sizes::default();
        for n in 0..100_u64 {
            sizes.observe(n * SECOND, 100 + 331 * (n % 50), 200);
        }

        assert!(sizes.mode().1 < 0.2);
    }

    #[test]
    fn a_larger_answer_that_leads_to_a_larger_upload_is_a_task() {
        let mut sizes = Sizes::default();
        for n in 0..20_u64 {
            sizes.observe(n * 10 * SECOND, 300, 150);
        }
        assert_eq!(sizes.tasking().tasks, 0);

        sizes.observe(200 * SECOND, 300, 2_000);
        sizes.observe(201 * SECOND, 5_000, 150);

        assert_eq!(sizes.tasking(), Tasking { tasks: 1, larger_answers: 1, turns: 22 });
    }

    #[test]
    fn a_task_is_known_though_its_connection_closes_last() {
        let mut sizes = Sizes::default();
        for n in 0..20_u64 {
            sizes.observe(n * 10 * SECOND, 300, 150);
        }

        sizes.observe(201 * SECOND, 5_000, 150);
        sizes.observe(200 * SECOND, 300, 2_000);

        assert_eq!(sizes.tasking().tasks, 1);
    }

    #[test]
    fn a_large_upload_alone_is_no_task() {
        let mut sizes = Sizes::default();
        for n in 0..20_u64 {
            sizes.observe(n * 10 * SECOND, if n % 7 == 6 { 5_000 } else { 300 }, 150);
        }

        assert_eq!(sizes.tasking().tasks, 0);
    }
}
