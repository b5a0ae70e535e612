//! Attaching: every program to its hooks, adopted where a former run left a link, new otherwise.

use std::{
    collections::BTreeSet,
    io,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
};

use netd_common::names;

use super::{
    Degraded, Error, Kernel, Xdp, cgroup,
    interfaces::{self, Changes, Interface, LinkLayer},
    pins::open_pin,
    sys::{self, AttachType, LinkInfo},
};

/// Which way packets pass an interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    Ingress,
    Egress,
}

impl Direction {
    pub(super) const BOTH: [Self; 2] = [Self::Ingress, Self::Egress];

    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Ingress => "ingress",
            Self::Egress => "egress",
        }
    }

    pub(super) const fn tcx(self) -> AttachType {
        match self {
            Self::Ingress => AttachType::TCX_INGRESS,
            Self::Egress => AttachType::TCX_EGRESS,
        }
    }

    const fn program(self, link_layer: LinkLayer) -> &'static str {
        match (self, link_layer) {
            (Self::Ingress, LinkLayer::Ethernet) => names::TC_INGRESS,
            (Self::Egress, LinkLayer::Ethernet) => names::TC_EGRESS,
            (Self::Ingress, LinkLayer::None) => names::TC_INGRESS_L3,
            (Self::Egress, LinkLayer::None) => names::TC_EGRESS_L3,
        }
    }
}

/// An interface and what holds the programs to it.
#[derive(Debug)]
pub(super) struct Attached {
    pub(super) interface: Interface,
    pub(super) hooks: Vec<Hook>,
}

#[derive(Debug)]
pub(super) enum Hook {
    Link { pin: String, link: OwnedFd },
    Filter(Direction),
}

impl Hook {
    /// Returns how the program is held. A link's pin is called after its interface and its kind.
    fn name(&self) -> String {
        match self {
            Self::Link { pin, .. } => pin.splitn(3, '-').nth(2).unwrap_or(pin).to_owned(),
            Self::Filter(direction) => format!("clsact-{}", direction.name()),
        }
    }

    pub(super) fn is_xdp(&self) -> bool {
        match self {
            Self::Link { pin, .. } => pin.contains("-xdp-"),
            Self::Filter(_) => false,
        }
    }

    /// Returns whether it is the link of a direction.
    pub(super) fn is_tcx(&self, direction: Direction) -> bool {
        match self {
            Self::Link { pin, .. } => pin.ends_with(&tcx_suffix(direction)),
            Self::Filter(_) => false,
        }
    }
}

fn tcx_suffix(direction: Direction) -> String {
    format!("tcx-{}", direction.name())
}

const XDP_PINS: [(&str, u32, Xdp); 2] =
    [("xdp-native", sys::XDP_NATIVE, Xdp::Native), ("xdp-generic", sys::XDP_GENERIC, Xdp::Generic)];

const CGROUP_PROGRAMS: [(&str, AttachType); 10] = [
    (names::CONNECT4, AttachType::CONNECT4),
    (names::CONNECT6, AttachType::CONNECT6),
    (names::SENDMSG4, AttachType::SENDMSG4),
    (names::SENDMSG6, AttachType::SENDMSG6),
    (names::SOCK_OPS, AttachType::SOCK_OPS),
    (names::POST_BIND4, AttachType::POST_BIND4),
    (names::POST_BIND6, AttachType::POST_BIND6),
    (names::SOCK_RELEASE, AttachType::SOCK_RELEASE),
    (names::GETPEERNAME4, AttachType::GETPEERNAME4),
    (names::GETPEERNAME6, AttachType::GETPEERNAME6),
];

const NO_CGROUP: &str =
    "connections are not joined to processes; a blocked connect gets no error, its packets are dropped";

impl Kernel {
    /// Attaches to the cgroup tree and to `interfaces`; whatever a former run was attached to besides is detached.
    ///
    /// # Errors
    ///
    /// When there are interfaces and none could be attached to, or not all while another version's programs are. What was
    /// attached before is then still attached.
    pub fn attach<'a>(&mut self, interfaces: impl IntoIterator<Item = &'a Interface>) -> Result<Vec<Degraded>, Error> {
        let mut degraded = Vec::new();
        let mut failure = None;
        for interface in interfaces {
            if let Err(error) = self.attach_interface(interface, &mut degraded) {
                degraded.push(unwatched(interface, &error));
                failure = failure.or(Some(error));
            }
        }
        match failure {
            Some(error) if self.attached.is_empty() || self.succeeds() => return Err(error),
            None if self.attached.is_empty() => {
                degraded.push(Degraded::new("interfaces", "none to watch is up", "nothing is seen until one comes up"))
            }
            Some(_) | None => {}
        }
        if self.cgroup {
            self.attach_cgroup(&mut degraded);
        }
        if self.processes {
            self.attach_tracepoints(&mut degraded);
        }
        self.count_interfaces()?;
        if !self.succeeds() {
            self.detach_leftovers(&mut degraded);
        }
        Ok(degraded)
    }

    /// Follows the coming, going and renaming of interfaces.
    ///
    /// # Errors
    ///
    /// When the control record cannot be written. An interface that cannot be attached to is a [`Degraded`].
    pub fn follow(&mut self, changes: &Changes) -> Result<Vec<Degraded>, Error> {
        let mut degraded = Vec::new();
        for interface in &changes.vanished {
            self.detach_interface(interface, &mut degraded);
        }
        for interface in &changes.appeared {
            if let Err(error) = self.attach_interface(interface, &mut degraded) {
                degraded.push(unwatched(interface, &error));
            }
        }
        for interface in &changes.renamed {
            if let Some(attached) = self.attached.get_mut(&interface.index) {
                attached.interface.name.clone_from(&interface.name);
            }
        }
        self.count_interfaces()?;
        Ok(degraded)
    }

    /// Iterates over the interfaces that programs are attached to.
    pub fn watched(&self) -> impl Iterator<Item = &Interface> {
        self.attached.values().map(|attached| &attached.interface)
    }

    /// Iterates over the watched interfaces and what holds the programs to each: `tcx-ingress`, `xdp-native`,
    /// `clsact-egress`.
    pub fn attachments(&self) -> impl Iterator<Item = (&Interface, Vec<String>)> {
        self.attached.values().map(|attached| (&attached.interface, attached.hooks.iter().map(Hook::name).collect()))
    }

    /// Attaches to one interface; an error when not even one direction could be.
    pub(super) fn attach_interface(
        &mut self,
        interface: &Interface,
        degraded: &mut Vec<Degraded>,
    ) -> Result<(), Error> {
        // The programs look here to tell watched interfaces from others, so before the first packet.
        self.watched.set(&interface.index, &1)?;
        let mut hooks = Vec::new();
        let mut failure = None;
        for direction in Direction::BOTH {
            match self.attach_direction(interface, direction, degraded) {
                Ok(hook) => hooks.push(hook),
                Err(error) => {
                    degraded.push(Degraded::new(
                        format!("interface {}, {}", interface.name, direction.name()),
                        super::chain(&error),
                        "packets of this direction pass unseen",
                    ));
                    failure = Some(error);
                }
            }
        }
        if let Some(error) = failure
            && hooks.is_empty()
        {
            self.watched.remove(&interface.index)?;
            return Err(error);
        }
        // Another version may have XDP's place.
        if interface.link_layer == LinkLayer::Ethernet && !self.succeeds() {
            hooks.extend(self.attach_xdp(interface, degraded));
        }
        self.attached.insert(interface.index, Attached { interface: interface.clone(), hooks });
        Ok(())
    }

    fn attach_direction(
        &mut self,
        interface: &Interface,
        direction: Direction,
        degraded: &mut Vec<Degraded>,
    ) -> Result<Hook, Error> {
        let name = direction.program(interface.link_layer);
        let failed = |source| Error::Attach {
            program: name,
            target: format!("{} ({})", interface.name, direction.name()),
            source,
        };
        let program = self.programs.get(name).ok_or(Error::Missing { what: "loaded program", name })?;
        if self.tcx {
            let pin = self.pin(interface.index, &tcx_suffix(direction));
            let index = interface.index;
            let placed = self.place_link(
                &pin,
                program.as_fd(),
                |info| info.link_type == sys::LINK_TCX && info.ifindex() == index,
                // Before the others: a program that passes a packet ends the chain.
                || sys::link_interface(program, index, direction.tcx(), sys::BEFORE),
            );
            match placed {
                Ok(link) => {
                    // A former run may have been told to use filters; another version's are its own until it is done.
                    if !self.succeeds() {
                        self.place.detach(index, direction).map_err(failed)?;
                    }
                    return Ok(Hook::Link { pin, link });
                }
                Err(PlaceError::Create(error)) if is_unsupported(&error) => {
                    self.tcx = false;
                    degraded.push(Degraded::new(
                        "TCX",
                        format!("this kernel has no TCX links ({error}); they came with 6.6"),
                        "filters on the clsact qdisc are used: whoever deletes the qdisc detaches netd until it notices",
                    ));
                }
                Err(PlaceError::Create(error)) => return Err(failed(error)),
                Err(PlaceError::Other(error)) => return Err(error),
            }
        }
        self.place.attach(interface.index, direction, program, name).map_err(failed)?;
        Ok(Hook::Filter(direction))
    }

    pub(super) fn attach_xdp(&self, interface: &Interface, degraded: &mut Vec<Degraded>) -> Option<Hook> {
        let program = self.programs.get(names::XDP_INGRESS)?;
        let wanted = |mode: Xdp| match self.xdp {
            Xdp::Auto => true,
            Xdp::Native | Xdp::Generic => mode == self.xdp,
            Xdp::Off => false,
        };
        let index = interface.index;
        let is_here = |info: &LinkInfo| info.link_type == sys::LINK_XDP && info.ifindex() == index;
        // What a former run left comes first: two modes cannot be active at the same time.
        let mut modes: Vec<_> = XDP_PINS.iter().filter(|(_, _, mode)| wanted(*mode)).collect();
        modes.sort_by_key(|(suffix, _, _)| !self.pins.link(&self.pin(index, suffix)).exists());
        for (suffix, _, mode) in XDP_PINS {
            let pin = self.pin(index, suffix);
            if !wanted(mode)
                && self.pins.link(&pin).exists()
                && let Err(error) = self.pins.detach(&pin)
            {
                tracing::warn!(interface = interface.name, error = super::chain(&error), "cannot detach XDP");
            }
        }
        let mut why = None;
        for (suffix, flags, _) in modes {
            let pin = self.pin(index, suffix);
            let create = || sys::link_interface(program, index, AttachType::XDP, *flags);
            match self.place_link(&pin, program.as_fd(), is_here, create) {
                Ok(link) => return Some(Hook::Link { pin, link }),
                Err(PlaceError::Create(error)) if error.raw_os_error() == Some(libc::EBUSY) => {
                    why = Some("another XDP program is attached".to_owned());
                    break;
                }
                Err(PlaceError::Create(error)) => why = Some(error.to_string()),
                Err(PlaceError::Other(error)) => why = Some(super::chain(&error)),
            }
        }
        if let Some(why) = why {
            degraded.push(Degraded::new(
                format!("XDP on {}", interface.name),
                why,
                "listed hosts are dropped later there, by the TC program",
            ));
        }
        None
    }

    /// Attaches XDP where an interface can have it and does not.
    pub(super) fn attach_vacant_xdp(&mut self, degraded: &mut Vec<Degraded>) {
        let vacant = |attached: &&Attached| {
            attached.interface.link_layer == LinkLayer::Ethernet && !attached.hooks.iter().any(Hook::is_xdp)
        };
        let interfaces: Vec<_> =
            self.attached.values().filter(vacant).map(|attached| attached.interface.clone()).collect();
        for interface in interfaces {
            let hook = self.attach_xdp(&interface, degraded);
            if let (Some(hook), Some(attached)) = (hook, self.attached.get_mut(&interface.index)) {
                attached.hooks.push(hook);
            }
        }
    }

    pub(super) fn attach_cgroup(&mut self, degraded: &mut Vec<Degraded>) {
        let root = match cgroup::Root::find() {
            Ok(Some(root)) => root,
            Ok(None) => {
                degraded.push(Degraded::new("cgroup v2", "it is not mounted", NO_CGROUP));
                return;
            }
            Err(error) => {
                degraded.push(Degraded::new("cgroup v2", error.to_string(), NO_CGROUP));
                return;
            }
        };
        self.cgroup_links.clear();
        for (name, attach_type) in CGROUP_PROGRAMS {
            let Some(program) = self.programs.get(name) else { continue };
            let pin = format!("cgroup-{name}");
            let placed = self.place_link(
                &pin,
                program.as_fd(),
                |info| info.link_type == sys::LINK_CGROUP && info.cgroup() == root.id,
                || sys::link_cgroup(program, &root.directory, attach_type),
            );
            match placed {
                Ok(link) => {
                    self.cgroup_links.insert(pin, link);
                }
                Err(error) => degraded.push(Degraded::new(
                    format!("program {name} on {}", root.path.display()),
                    error.text(),
                    NO_CGROUP,
                )),
            }
        }
    }

    /// Puts `program` into the link pinned as `pin`, when it is there and `fits`; else makes a link and pins it.
    fn place_link(
        &self,
        pin: &str,
        program: BorrowedFd<'_>,
        fits: impl Fn(&LinkInfo) -> bool,
        create: impl FnOnce() -> io::Result<OwnedFd>,
    ) -> Result<OwnedFd, PlaceError> {
        let path = self.pins.link(pin);
        if let Some(link) = open_pin(&path)? {
            if sys::link_info(&link).is_ok_and(|info| fits(&info)) {
                let failed = |source| Error::Pin { doing: "put the new program into", path: path.clone(), source };
                sys::link_update(&link, program).map_err(failed)?;
                return Ok(link);
            }
            // Its interface is gone, or the name was given to another.
            self.pins.detach(pin)?;
        }
        let link = create().map_err(PlaceError::Create)?;
        sys::object_pin(&link, &path).map_err(|source| Error::Pin { doing: "make", path, source })?;
        Ok(link)
    }

    fn detach_interface(&mut self, interface: &Interface, degraded: &mut Vec<Degraded>) {
        let Some(attached) = self.attached.remove(&interface.index) else { return };
        for hook in attached.hooks {
            let detached = match hook {
                Hook::Link { pin, .. } => self.pins.detach(&pin),
                // It goes with its interface.
                Hook::Filter(direction) => {
                    let _ = self.place.detach(interface.index, direction);
                    Ok(())
                }
            };
            if let Err(error) = detached {
                degraded.push(leftover(&interface.name, &error));
            }
        }
        if let Err(error) = self.watched.remove(&interface.index) {
            degraded.push(leftover(&interface.name, &error));
        }
    }

    /// Detaches pinned links that this run has no use for: of interfaces not chosen any more, of a mode not wanted.
    pub(super) fn detach_leftovers(&self, degraded: &mut Vec<Degraded>) {
        let used: BTreeSet<&str> = self
            .attached
            .values()
            .flat_map(|attached| &attached.hooks)
            .filter_map(|hook| match hook {
                Hook::Link { pin, .. } => Some(pin.as_str()),
                Hook::Filter(_) => None,
            })
            .chain(self.cgroup_links.keys().map(String::as_str))
            .collect();
        let names = match self.pins.link_names() {
            Ok(names) => names,
            Err(error) => {
                degraded.push(leftover("links", &error));
                return;
            }
        };
        for name in names.iter().filter(|name| !used.contains(name.as_str())) {
            tracing::info!(link = name, "detaching what a former run was attached to and this one is not");
            if let Err(error) = self.pins.detach(name) {
                degraded.push(leftover(name, &error));
            }
        }
        self.remove_leftover_filters(degraded);
        self.forget_leftover_interfaces(degraded);
    }

    fn remove_leftover_filters(&self, degraded: &mut Vec<Degraded>) {
        let Ok(existing) = interfaces::indices() else { return };
        for index in existing.into_iter().filter(|index| !self.attached.contains_key(index)) {
            for direction in Direction::BOTH {
                if let Err(source) = self.place.detach(index, direction) {
                    degraded.push(leftover("filters", &Error::Filter { ifindex: index, source }));
                }
            }
        }
    }

    fn forget_leftover_interfaces(&self, degraded: &mut Vec<Degraded>) {
        let mut stale = Vec::new();
        let listed = self.watched.for_each(|index, _| {
            if !self.attached.contains_key(&index) {
                stale.push(index);
            }
        });
        if let Err(error) = listed.and_then(|()| self.watched.remove_many(&stale)) {
            degraded.push(leftover("WATCHED", &error));
        }
    }

    /// Tells the programs whether a packet can meet them twice.
    fn count_interfaces(&self) -> Result<(), Error> {
        let forwards = u32::from(self.attached.len() > 1);
        if self.steering.current().forwards != forwards {
            self.steering.update(|control| control.forwards = forwards)?;
        }
        Ok(())
    }

    /// Returns the name of a pin: bpffs allows no dots, as in `eth0.100`, so interfaces go by number, and numbers
    /// are only good within their network namespace.
    pub(super) fn pin(&self, ifindex: u32, suffix: &str) -> String {
        format!("n{}-i{ifindex}-{suffix}", self.namespace)
    }
}

enum PlaceError {
    /// The kernel did not make the link.
    Create(io::Error),
    Other(Error),
}

impl PlaceError {
    fn text(&self) -> String {
        match self {
            Self::Create(error) => error.to_string(),
            Self::Other(error) => super::chain(error),
        }
    }
}

impl From<Error> for PlaceError {
    fn from(error: Error) -> Self {
        Self::Other(error)
    }
}

/// Whether the kernel does not know this kind of link.
fn is_unsupported(error: &io::Error) -> bool {
    /// The kernel's own `ENOTSUPP`, which it leaks to user space.
    const ENOTSUPP: i32 = 524;
    matches!(error.raw_os_error(), Some(libc::EINVAL | libc::EOPNOTSUPP | ENOTSUPP))
}

fn unwatched(interface: &Interface, error: &Error) -> Degraded {
    Degraded::new(format!("interface {}", interface.name), super::chain(error), "its packets pass unseen")
}

pub(super) fn leftover(what: &str, error: &Error) -> Degraded {
    Degraded::new(what, super::chain(error), "something of a former run may still be attached")
}
