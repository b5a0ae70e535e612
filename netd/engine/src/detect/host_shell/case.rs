//! From a graph of streams to what it shows, by structure first and by who holds the other end second.

use std::net::SocketAddr;
use std::sync::Arc;

use crate::process::{Class, Image, Process, Programs, Provenance, Script, is_system, is_temporary};
use crate::streams::{Course, End, Graph, Link, Node, Opened};

/// What the streams of a process show.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Shape {
    /// Its input and output are connections that this host opened.
    Direct,
    /// Both lead to such connections over other processes.
    Relayed(Link),
    /// A command's output is a connection that its parent opened and keeps.
    Output,
    /// A command's output goes to a parent that has such a connection.
    Commands,
    /// It reads its commands from such a connection and answers elsewhere.
    Script,
    /// Its input and output lead to a connection that was accepted; over other processes, where a link is named.
    Bound(Option<Link>),
}

/// What is known about the process that keeps the connection, where that is not the suspect.
#[derive(Clone, Debug, Default)]
pub(crate) struct Keeper {
    pub(crate) pid: u32,
    pub(crate) comm: String,
    pub(crate) serves: bool,
    /// It joins streams for whoever starts it: netcat and its like, or an interpreter without a script.
    pub(crate) is_relay: bool,
    /// An interpreter that runs a script file: where only root writes, or anywhere.
    pub(crate) script: Option<(String, bool)>,
    pub(crate) posed: Option<Class>,
}

/// A process whose streams mean something.
#[derive(Clone, Debug)]
pub(crate) struct Case {
    pub(crate) shape: Shape,
    pub(crate) image: Image,
    /// Whose doing it is: the shell, or the parent that runs commands.
    pub(crate) process: Arc<Process>,
    pub(crate) end: End,
    /// Where its output goes, if to another host than its input comes from.
    pub(crate) elsewhere: Option<SocketAddr>,
    pub(crate) keeper: Option<Keeper>,
    /// The worst of what is known of all executables on the way.
    pub(crate) provenance: Provenance,
    pub(crate) service: Option<String>,
    /// Ways that known programs explain.
    pub(crate) considered: Vec<String>,
}

/// What is asked while a graph is read.
pub(crate) struct Reader<'a> {
    pub(crate) graph: &'a Graph,
    pub(crate) programs: &'a Programs,
    pub(crate) provenance: &'a dyn Fn(&Process) -> Option<Provenance>,
}

impl Reader<'_> {
    /// Returns what the graph shows, if anything.
    pub(crate) fn read(&self) -> Option<Case> {
        let suspect = &self.graph.nodes.first()?.process;
        let mut considered = Vec::new();
        let mut open = Vec::new();
        for end in &self.graph.ends {
            match self.excuse(end) {
                Some(why) if considered.contains(&why) => {}
                Some(why) => considered.push(why),
                None => open.push(end),
            }
        }
        let outward: Vec<&End> = open.iter().copied().filter(|end| end.opened == Opened::Connected).collect();
        let accepted: Vec<&End> = open.iter().copied().filter(|end| end.opened == Opened::Accepted).collect();
        let case = self.reverse(suspect, &outward).or_else(|| self.bound(suspect, &accepted))?;
        Some(Case { considered, ..case })
    }

    /// Returns whether the suspect's streams may yet lead somewhere: the other end is often opened after the shell.
    pub(crate) fn is_unfinished(&self) -> bool {
        let Some(suspect) = self.graph.nodes.first().map(|node| &node.process) else { return false };
        let leads = |course| self.graph.ends.iter().any(|end| end.course == course);
        takes_commands(suspect) && !(leads(Course::In) && leads(Course::Out))
    }

    fn reverse(&self, suspect: &Arc<Process>, ends: &[&End]) -> Option<Case> {
        let image = Image::of(suspect);
        let of = |course| ends.iter().copied().filter(move |end: &&End| end.course == course);
        if let Some((input, output)) = pair(ends) {
            if input.edge.is_none() && output.edge.is_none() {
                return Some(self.case(Shape::Direct, suspect, input, Some(output)));
            }
            if takes_commands(suspect) || image == Image::Other && suspect.is_hidden() {
                let way = if input.edge.is_some() { input } else { output };
                let link = self.graph.path(way).first().map_or(Link::Pipe, |edge| edge.link);
                return Some(self.case(Shape::Relayed(link), suspect, way, Some(output)));
            }
        }
        self.command(suspect, ends).or_else(|| {
            let input = of(Course::In).next().filter(|_| of(Course::Out).next().is_none())?;
            takes_commands(suspect).then(|| self.case(Shape::Script, suspect, input, None))
        })
    }

    /// A command that somebody runs for the far end of a connection.
    fn command(&self, suspect: &Arc<Process>, ends: &[&End]) -> Option<Case> {
        let parent = suspect.parents.first()?;
        let is_parent = |pid: u32| pid == parent.id.pid;
        let parent_image = Image::named(parent.exe.as_deref().map_or(&parent.comm, crate::process::program_of));
        if let Some(end) = ends.iter().find(|end| end.course == Course::Out && end.edge.is_none())
            && end.holders.iter().copied().any(is_parent)
            && parent_image != Image::Other
        {
            let known = self.graph.node(parent.id.pid).map(|node| node.process.clone());
            let keeper = known.unwrap_or_else(|| as_process(suspect, parent));
            return Some(Case { process: keeper, ..self.case(Shape::Output, suspect, end, None) });
        }
        let end = ends.iter().find(|end| is_parent(end.at.pid) && self.graph.path(end).len() == 1)?;
        let keeper = &self.graph.node(end.at.pid)?.process;
        let runs_lines = Image::of(keeper) == Image::Interpreter || keeper.is_hidden();
        runs_lines.then(|| Case { process: keeper.clone(), ..self.case(Shape::Commands, suspect, end, None) })
    }

    fn bound(&self, suspect: &Arc<Process>, ends: &[&End]) -> Option<Case> {
        let (input, output) = pair(ends)?;
        if !takes_commands(suspect) {
            return None;
        }
        let way = if input.edge.is_some() { input } else { output };
        let link = self.graph.path(way).first().map(|edge| edge.link);
        Some(self.case(Shape::Bound(link), suspect, way, Some(output)))
    }

    fn case(&self, shape: Shape, suspect: &Arc<Process>, end: &End, output: Option<&End>) -> Case {
        let elsewhere = output.map(|output| output.remote).filter(|remote| remote.ip() != end.remote.ip());
        let node = self.graph.node(end.at.pid).filter(|node| node.id.pid != self.graph.suspect);
        let on_way = self.graph.path(end).into_iter().filter_map(|edge| self.graph.node(edge.far.pid));
        let mut provenance = self.known(suspect);
        for node in on_way {
            let other = self.known(&node.process);
            let is_bare = Image::of(&node.process) == Image::Interpreter && node.process.is_bare();
            provenance.is_bare_interpreter |= is_bare;
            provenance.is_memory |= other.is_memory;
            provenance.is_temporary |= other.is_temporary;
            provenance.is_deleted |= other.is_deleted;
            provenance.is_packaged = provenance.is_packaged.or(other.is_packaged);
        }
        Case {
            shape,
            image: Image::of(suspect),
            process: suspect.clone(),
            end: end.clone(),
            elsewhere,
            keeper: node.map(|node| self.keeper(node)),
            provenance,
            service: self.programs.service(suspect),
            considered: Vec::new(),
        }
    }

    fn keeper(&self, node: &Node) -> Keeper {
        let process = &node.process;
        let is_interpreter = Image::of(process) == Image::Interpreter;
        let is_bare = is_interpreter && process.is_bare();
        let script = match process.script() {
            Script::File(file) if is_interpreter => Some((file.to_owned(), is_system(file))),
            Script::File(_) | Script::None | Script::Line => None,
        };
        Keeper {
            pid: node.id.pid,
            comm: node.comm.clone(),
            serves: node.serves,
            is_relay: is_bare || process.is_hidden() || self.programs.is_relay(process),
            script,
            posed: self.programs.posed(process),
        }
    }

    /// Returns what speaks against a process's executable; that a package owns it speaks for nothing here, for so does
    /// one every shell.
    fn known(&self, process: &Process) -> Provenance {
        let known = (self.provenance)(process).unwrap_or_default();
        let is_memory = known.is_memory || process.exe.as_deref().is_some_and(|exe| exe.starts_with("/memfd:"));
        let runs_temporary = match process.script() {
            Script::File(file) => Image::of(process) != Image::Other && is_temporary(file),
            Script::None | Script::Line => false,
        };
        Provenance {
            is_deleted: known.is_deleted,
            is_memory,
            is_temporary: known.is_temporary || runs_temporary || process.is_hidden() && !is_memory,
            is_bare_interpreter: false,
            is_packaged: known.is_packaged.filter(|is_packaged| !is_packaged),
        }
    }

    /// Returns why a way means nothing: a program that is there for it holds the streams or the listener.
    fn excuse(&self, end: &End) -> Option<String> {
        let tell = |node: &Node| {
            let class = self.class(&node.process)?;
            Some(format!("{}[{}] is a {class}", node.comm, node.id.pid))
        };
        let path = self.graph.path(end);
        if let Some(why) = path.iter().find_map(|edge| tell(self.graph.node(edge.far.pid)?)) {
            return Some(why);
        }
        if end.opened != Opened::Accepted {
            return None;
        }
        if let Some((process, class)) = end.listeners.iter().find_map(|pid| {
            let process = self.graph.listener(*pid)?;
            Some((process, self.class(process)?))
        }) {
            return Some(format!("{}[{}], a {class}, listens for it", process.comm, process.id.pid));
        }
        let suspect = &self.graph.nodes.first()?.process;
        let parent = suspect.parents.first()?;
        let accepts = |class: &Class| matches!(class, Class::Inetd | Class::Login | Class::File);
        if let Some(class) = self.programs.class_of(parent).filter(accepts) {
            return Some(format!("{}[{}], a {class}, accepted it", parent.comm, parent.id.pid));
        }
        let unit = suspect.unit.as_deref().filter(|unit| is_instance(suspect, unit, end))?;
        Some(format!("{unit} is the unit of a socket that systemd listens on"))
    }

    fn class(&self, process: &Process) -> Option<Class> {
        self.programs.class(process, (self.provenance)(process))
    }
}

/// Returns whether a process is of the unit that systemd made for this connection (`Accept=yes`), which bears its ends.
fn is_instance(process: &Process, unit: &str, end: &End) -> bool {
    let is_first = process.parents.first().is_some_and(|parent| parent.id.pid == 1);
    is_first && unit.contains('@') && unit.contains(&format!(":{}-", end.local.port()))
}

/// Returns whether whoever writes to a process's input commands it.
fn takes_commands(process: &Process) -> bool {
    Image::of(process) != Image::Other && process.script() == Script::None
}

/// Returns an input and an output that belong together, the most telling first.
fn pair<'a>(ends: &[&'a End]) -> Option<(&'a End, &'a End)> {
    let of = |course| ends.iter().copied().filter(move |end| end.course == course);
    let pairs = || of(Course::In).flat_map(|input| of(Course::Out).map(move |output| (input, output)));
    let best = |(input, output): &(&End, &End)| {
        let is_direct = input.edge.is_none() && output.edge.is_none();
        (is_direct, input.key == output.key, input.remote.ip() == output.remote.ip())
    };
    // The first of the best: nearest ends come first.
    pairs().fold(None, |chosen, pair| match chosen {
        Some(known) if best(&known) >= best(&pair) => Some(known),
        Some(_) | None => Some(pair),
    })
}

fn as_process(child: &Process, parent: &crate::process::Ancestor) -> Arc<Process> {
    Arc::new(Process {
        id: parent.id,
        comm: parent.comm.clone(),
        exe: parent.exe.clone(),
        uid: child.uid,
        user: child.user.clone(),
        parents: child.parents.iter().skip(1).cloned().collect(),
        ..Process::default()
    })
}
