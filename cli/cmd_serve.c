/* SPDX-License-Identifier: BSD-3-Clause */
/* cmd_serve.c - "briq serve": what it takes, and what it says of itself. */
#include <stddef.h>

#include "cli/serve_args.h"
#include "cli/serve_run.h"

static const struct serve_args defaults = {
    .engine = "auto",
    .io = "buffered",
    .cache_bytes = BRIQ_SERVE_CACHE_DEFAULT,
    .id = UBLK_ANY_ID,
    .shape = BRIQ_UBLK_SHAPE_WORDS,
    .ublk_threads = BRIQ_UBLK_THREAD_WORDS,
};

static enum briq_exit run(const void *args)
{
    return briq_serve_run(args);
}

const struct briq_verb briq_verb_serve = {
    .name = "serve",
    .summary = "serve volumes to NBD clients, and as block devices",
    .description =
        (const char *const[]){
            "Serves each VOLUME to NBD clients: QEMU, nbdcopy, the kernel's nbd-client and "
            "whatever "
            "else speaks the protocol. A VOLUME is a file, a block device or mem:SIZE (in memory, "
            "gone with this program); its export name is the file name without \".briq\", or mem, "
            "or NAME when it is written NAME=VOLUME. A client that names no export gets the only "
            "one.",
            "It also takes sockets that a service manager has made (LISTEN_FDS), and tells it when "
            "it is ready (NOTIFY_SOCKET).",
            "The program stays in the foreground until SIGTERM, SIGINT or SIGHUP. Then it accepts "
            "nothing more, answers what is under way, flushes and closes the volumes.",
            "Whoever can open the socket can do everything with the volumes. A Unix socket is "
            "open to the user who starts the program unless --socket-mode and --socket-owner say "
            "otherwise; TCP is open to everybody, unless --allow or TLS keeps others out.",
            "While it runs, `briq list` shows it, `briq attach`, `detach`, `resize`, `compact`, "
            "`checkpoint` and `snapshot-stats` work on what it serves, and `briq shutdown` ends "
            "it, through a control socket that is open to the same user and root alone.",
            "With --ublk volumes are block devices of this machine's kernel as well, coherent with "
            "their exports: what one has acknowledged the other reads. A device whose server has "
            "died waits, and the next `briq serve` of its volume takes it over, with --ublk or "
            "without. At the end of the program devices that nobody uses are removed; one that is "
            "mounted, or held open, waits for the next server in the same way, so that nothing is "
            "lost (a volume in memory cannot, nor with --on-death remove: the device is removed). "
            "A daemon that is to get devices with `briq attach` alone should be started outside of "
            "a container.",
            "All connections are served by a few threads with io_uring. Where the system does not "
            "have it or forbids it, each connection gets a thread of its own; a line says so.",
            NULL,
        },
    .operands =
        (const struct briq_operand[]){
            {"VOLUME", offsetof(struct serve_args, volumes), BRIQ_MANY},
            {0},
        },
    .options =
        (const struct briq_option[]){
            {.name = "nbd",
             .kind = BRIQ_OPTION_LIST,
             .offset = offsetof(struct serve_args, nbd),
             .value = "ADDRESS",
             .help = "Listen there: unix:PATH or tcp:HOST:PORT (an IPv6 address in brackets; "
                     "without HOST on all addresses). Can be given more than once."},
            {.name = "ublk",
             .kind = BRIQ_OPTION_LIST,
             .offset = offsetof(struct serve_args, ublk),
             .value = "NAME",
             .may_be_bare = true,
             .help = "Make export NAME, or every volume, a block device /dev/ublkbN as well, which "
                     "needs root. Can be given more than once; what was made is printed."},
            {.name = "id",
             .letter = 'n',
             .kind = BRIQ_OPTION_NUMBER,
             .offset = offsetof(struct serve_args, id),
             .value = "N",
             .min = 0,
             .max = 1 << 20,
             .help = "The number of the first device; further ones get the next. Default: those "
                     "that are free."},
            BRIQ_UBLK_SHAPE_OPTIONS(offsetof(struct serve_args, shape)),
            BRIQ_UBLK_THREAD_OPTIONS(offsetof(struct serve_args, ublk_threads)),
            BRIQ_UBLK_SWAP_OPTION(struct serve_args, swap),
            {.name = "read-only",
             .letter = 'r',
             .kind = BRIQ_OPTION_FLAG,
             .offset = offsetof(struct serve_args, read_only),
             .help = "Open the volumes without changing anything, beside other readers."},
            {.name = "threads",
             .kind = BRIQ_OPTION_NUMBER,
             .offset = offsetof(struct serve_args, threads),
             .value = "N",
             .min = 1,
             .max = BRIQ_SERVER_THREADS_MAX,
             .help = "Threads that serve connections. Default: one for each processor."},
            {.name = "max-connections",
             .kind = BRIQ_OPTION_NUMBER,
             .offset = offsetof(struct serve_args, max_connections),
             .value = "N",
             .min = 1,
             .max = BRIQ_SERVER_CONNECTIONS_MAX,
             .help = "Close further connections when there are so many. Default: 100."},
            {.name = "handshake-timeout",
             .kind = BRIQ_OPTION_NUMBER,
             .offset = offsetof(struct serve_args, handshake_s),
             .value = "SECONDS",
             .min = 1,
             .max = 3600,
             .help = "Close a connection that has not chosen its export by then. Default: 10."},
            {.name = "drain-timeout",
             .kind = BRIQ_OPTION_NUMBER,
             .offset = offsetof(struct serve_args, drain_s),
             .value = "SECONDS",
             .min = 1,
             .max = 3600,
             .help = "At the end, wait so long for clients to take their replies. Default: 5."},
            {.name = "engine",
             .kind = BRIQ_OPTION_TEXT,
             .offset = offsetof(struct serve_args, engine),
             .value = "ENGINE",
             .help = "ring (io_uring), threads (one for each connection), or auto: ring where it "
                     "can be had. Default: auto."},
            {.name = "spin",
             .kind = BRIQ_OPTION_NUMBER,
             .offset = offsetof(struct serve_args, spin_us),
             .value = "MICROSECONDS",
             .min = 0,
             .max = 1000,
             .help =
                 "Before a thread sleeps, look so long for the next request; halves the latency "
                 "of one request at a time and takes processor time. Default: 0."},
            {.name = "sndbuf",
             .kind = BRIQ_OPTION_SIZE,
             .offset = offsetof(struct serve_args, send_bytes),
             .value = "SIZE",
             .min = 4096,
             .max = 1 << 30,
             .help = "Send buffer of each socket. Default: the system's."},
            {.name = "rcvbuf",
             .kind = BRIQ_OPTION_SIZE,
             .offset = offsetof(struct serve_args, recv_bytes),
             .value = "SIZE",
             .min = 4096,
             .max = 1 << 30,
             .help = "Receive buffer of each socket. Default: the system's."},
            {.name = "io",
             .kind = BRIQ_OPTION_TEXT,
             .offset = offsetof(struct serve_args, io),
             .value = "HOW",
             .help = "buffered (through the system's page cache) or direct. Default: buffered."},
            {.name = "cache",
             .kind = BRIQ_OPTION_SIZE,
             .offset = offsetof(struct serve_args, cache_bytes),
             .value = "SIZE",
             .help = "Cache of compressed sectors for direct I/O; 0: none. Default: 128M."},
            {.name = "accel",
             .kind = BRIQ_OPTION_NUMBER,
             .offset = offsetof(struct serve_args, accel),
             .value = "N",
             .min = 1,
             .max = 64,
             .help = "LZ4 acceleration: higher is faster and packs less. Default: the volume's."},
            {.name = "streams",
             .kind = BRIQ_OPTION_NUMBER,
             .offset = offsetof(struct serve_args, streams),
             .value = "N",
             .min = 1,
             .max = 8,
             .help = "Places where writers append at the same time. Default: one for each "
                     "processor."},
            {.name = "windows-dir",
             .kind = BRIQ_OPTION_TEXT,
             .offset = offsetof(struct serve_args, windows_dir),
             .value = "DIR",
             .help = "Directory on a tmpfs for the append windows. Default: /dev/shm."},
            {.name = "no-windows-file",
             .kind = BRIQ_OPTION_FLAG,
             .offset = offsetof(struct serve_args, no_windows_file),
             .help = "Keep the append windows in private memory, and write before acknowledging."},
            {.name = "tls",
             .kind = BRIQ_OPTION_TEXT,
             .offset = offsetof(struct serve_args, security.tls),
             .value = "HOW",
             .help = "off, on (for clients that ask for it) or require (nothing without). Default: "
                     "require when certificates or keys are given, else off."},
            {.name = "tls-certificates",
             .kind = BRIQ_OPTION_TEXT,
             .offset = offsetof(struct serve_args, security.tls_certificates),
             .value = "DIR",
             .help = "Directory of the server's X.509 certificate: ca-cert.pem, server-cert.pem, "
                     "server-key.pem and, if there is one, ca-crl.pem."},
            {.name = "tls-psk",
             .kind = BRIQ_OPTION_TEXT,
             .offset = offsetof(struct serve_args, security.tls_psk),
             .value = "FILE",
             .help = "Pre-shared keys of clients: lines USER:HEXKEY, as psktool writes them."},
            {.name = "tls-verify-peer",
             .kind = BRIQ_OPTION_FLAG,
             .offset = offsetof(struct serve_args, security.tls_verify_peer),
             .help =
                 "Turn clients away whose certificate is not signed by ca-cert.pem, or who have "
                 "none; those with a pre-shared key need none."},
            {.name = "tls-priority",
             .kind = BRIQ_OPTION_TEXT,
             .offset = offsetof(struct serve_args, security.tls_priority),
             .value = "STRING",
             .help = "Versions and algorithms, as GnuTLS writes them. Default: TLS 1.2 and newer, "
                     "what GnuTLS takes for normal."},
            {.name = "allow",
             .kind = BRIQ_OPTION_LIST,
             .offset = offsetof(struct serve_args, security.allow),
             .value = "WHO",
             .help = "Let WHO connect and nobody else: uid:USER or gid:GROUP (a process at the "
                     "other end of a Unix socket, by name or number), unix (any of those), or "
                     "ADDRESS[/PREFIX] (IPv4 or IPv6). Can be given more than once: each opens to "
                     "more."},
            {.name = "socket-mode",
             .kind = BRIQ_OPTION_TEXT,
             .offset = offsetof(struct serve_args, security.socket_mode),
             .value = "MODE",
             .help = "Mode of the files of Unix sockets, in octal. Connecting takes the right to "
                     "write. Default: 0600."},
            {.name = "socket-owner",
             .kind = BRIQ_OPTION_TEXT,
             .offset = offsetof(struct serve_args, security.socket_owner),
             .value = "USER[:GROUP]",
             .help =
                 "Owner of those files; :GROUP changes the group alone. Default: who starts the "
                 "program."},
            {.name = "one-writer",
             .kind = BRIQ_OPTION_FLAG,
             .offset = offsetof(struct serve_args, security.one_writer),
             .help = "Let the first client of each export write, with one connection. Those that "
                     "come while it is there get the export read-only; when it has gone, the next "
                     "that comes may write."},
            {.name = "control",
             .kind = BRIQ_OPTION_TEXT,
             .offset = offsetof(struct serve_args, control),
             .value = "NAME",
             .help = "The control socket, for `briq list`, `attach` and the like: a path, or a "
                     "name in the directory of this user's daemons. Default: the process id, in "
                     "that directory."},
            {.name = "no-control",
             .kind = BRIQ_OPTION_FLAG,
             .offset = offsetof(struct serve_args, no_control),
             .help = "Have no control socket."},
            {.name = "metrics",
             .kind = BRIQ_OPTION_TEXT,
             .offset = offsetof(struct serve_args, metrics),
             .value = "ADDRESS",
             .help = "Answer Prometheus there, GET /metrics over HTTP: unix:PATH, tcp:PORT (at "
                     "127.0.0.1) or tcp:HOST:PORT, where an address that others can reach must be "
                     "written as a number, such as 0.0.0.0."},
            {.name = "run",
             .kind = BRIQ_OPTION_TEXT,
             .offset = offsetof(struct serve_args, run),
             .value = "COMMAND",
             .help = "Run COMMAND with sh, $uri being the default export, and end when it does, "
                     "with its exit code. Without --nbd there is a socket for it alone."},
            {.name = "stdio",
             .kind = BRIQ_OPTION_FLAG,
             .offset = offsetof(struct serve_args, stdio),
             .help = "Serve one client on standard input, which must be a socket, and end when it "
                     "goes."},
            {.name = "daemon",
             .kind = BRIQ_OPTION_FLAG,
             .offset = offsetof(struct serve_args, daemon),
             .help = "Go to the background when clients can connect; what is wrong before that is "
                     "told here, and what comes later to the system's log."},
            {.name = "pid-file",
             .kind = BRIQ_OPTION_TEXT,
             .offset = offsetof(struct serve_args, pid_file),
             .value = "FILE",
             .help = "Write the process id there when clients can connect."},
            {.name = "print-uri",
             .kind = BRIQ_OPTION_FLAG,
             .offset = offsetof(struct serve_args, print_uri),
             .help = "Print the NBD URI of the default export, when clients can connect."},
            {.name = "verbose",
             .letter = 'v',
             .kind = BRIQ_OPTION_FLAG,
             .offset = offsetof(struct serve_args, verbose),
             .help = "Say more on standard error than errors and warnings."},
            {0},
        },
    .examples =
        (const struct briq_example[]){
            {"briq serve disk.briq --nbd unix:/run/disk.sock", "One disk for one machine."},
            {"briq serve a.briq spare=b.briq --nbd unix:/run/briq.sock --nbd tcp:[::1]:10809",
             "Two exports, a and spare, each at both addresses."},
            {"briq serve a.briq --nbd tcp::10809 --tls-certificates pki --tls-verify-peer",
             "Over the network, for clients with a certificate of the same authority."},
            {"briq serve a.briq --nbd unix:a.sock --socket-mode 0660 --socket-owner :kvm",
             "For the members of a group."},
            {"briq serve mem:8G --nbd unix:/tmp/ram.sock", "A compressed disk in memory."},
            {"briq serve disk.briq --ublk --nbd unix:/run/disk.sock",
             "A block device of this machine, which others can back up over NBD."},
            {0},
        },
    .args_bytes = sizeof(struct serve_args),
    .defaults = &defaults,
    .run = run,
};
