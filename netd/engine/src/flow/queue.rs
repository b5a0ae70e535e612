//! Who has been silent longest: one queue per timeout, each ordered by last activity.
//!
//! Every entry of a queue waits equally long, so the head is always the next to expire, and a touch is one relinking.

/// What an entry waits for; each has its own timeout.
#[repr(u8)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wait {
    TcpOpen = 0,
    TcpHalfOpen = 1,
    Udp = 2,
    Other = 3,
    /// Ended on the wire; last records of other CPUs may follow.
    Closing = 4,
    /// Reported; kept so that a later cumulative record is not counted twice.
    Reported = 5,
}

impl Wait {
    /// In the order in which they give room when the table is full.
    pub(crate) const ALL: [Self; 6] =
        [Self::Reported, Self::Closing, Self::TcpHalfOpen, Self::Other, Self::Udp, Self::TcpOpen];
}

const NONE: u32 = u32::MAX;

#[derive(Clone, Copy, Debug)]
struct Link {
    before: u32,
    after: u32,
    wait: Wait,
    linked: bool,
}

const UNLINKED: Link = Link { before: NONE, after: NONE, wait: Wait::Reported, linked: false };

/// The queues, over the places of a slab.
#[derive(Debug)]
pub(crate) struct Queues {
    links: Vec<Link>,
    heads: [u32; Wait::ALL.len()],
    tails: [u32; Wait::ALL.len()],
}

impl Queues {
    pub(crate) const fn new() -> Self {
        Self { links: Vec::new(), heads: [NONE; Wait::ALL.len()], tails: [NONE; Wait::ALL.len()] }
    }

    /// Returns the place that has waited longest.
    pub(crate) fn head(&self, wait: Wait) -> Option<u32> {
        let head = self.heads[wait as usize];
        (head != NONE).then_some(head)
    }

    /// Puts a place at the end of a queue, out of the one it is in.
    pub(crate) fn touch(&mut self, place: u32, wait: Wait) {
        if self.tails[wait as usize] == place {
            return;
        }
        self.leave(place);
        if self.links.len() <= place as usize {
            self.links.resize(place as usize + 1, UNLINKED);
        }
        let before = self.tails[wait as usize];
        self.links[place as usize] = Link { before, after: NONE, wait, linked: true };
        match before {
            NONE => self.heads[wait as usize] = place,
            before => self.links[before as usize].after = place,
        }
        self.tails[wait as usize] = place;
    }

    pub(crate) fn leave(&mut self, place: u32) {
        let Some(link) = self.links.get_mut(place as usize) else { return };
        let Link { before, after, wait, linked } = std::mem::replace(link, UNLINKED);
        if !linked {
            return;
        }
        match before {
            NONE => self.heads[wait as usize] = after,
            before => self.links[before as usize].after = after,
        }
        match after {
            NONE => self.tails[wait as usize] = before,
            after => self.links[after as usize].before = before,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_touched_place_expires_last() {
        let mut queues = Queues::new();
        for place in 0..3 {
            queues.touch(place, Wait::Udp);
        }

        queues.touch(0, Wait::Udp);

        assert_eq!(queues.head(Wait::Udp), Some(1));
        queues.leave(1);
        queues.leave(2);
        assert_eq!(queues.head(Wait::Udp), Some(0));
    }

    #[test]
    fn a_place_waits_in_one_queue_only() {
        let mut queues = Queues::new();
        queues.touch(7, Wait::Udp);

        queues.touch(7, Wait::Reported);

        assert_eq!(queues.head(Wait::Udp), None);
        assert_eq!(queues.head(Wait::Reported), Some(7));
    }
}
