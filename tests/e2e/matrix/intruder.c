/* Stands in for an rsync that an attacker has taken over: the gate starts it in rsync's place, and it tries one
 * deed after the other against what the file `orders` names. It prints what the kernel said to each, for whoever
 * reads a failed test; the test itself judges by what has really happened. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/btrfs.h>
#include <netinet/in.h>
#include <sched.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/shm.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <unistd.h>

#define SNAPSHOT "2026-01-01T00:00+0000"

static char prey[512], keys[512], listener[512], abstract[100];
static int to_kill, to_limit, to_adjust, to_slow, tcp, udp, shm_key;
static unsigned long long doomed;

static int orders(const char *path) {
    FILE *file = fopen(path, "r");
    int count;
    if (!file) return 0;
    count = fscanf(file, "%511s %511s %511s %99s %d %d %d %d %d %d %d %llu", prey, keys, listener, abstract, &to_kill,
                   &to_limit, &to_adjust, &to_slow, &tcp, &udp, &shm_key, &doomed);
    fclose(file);
    return count == 12;
}

static void tell(const char *deed, long result) {
    printf("%s: %s\n", deed, result < 0 ? strerror(errno) : "done");
    fflush(stdout);
}

static const char *at(const char *name) {
    static char path[1024];
    snprintf(path, sizeof path, "%s/%s", prey, name);
    return path;
}

static long put(const char *path, int flags) {
    int file = open(path, flags, 0600);
    return file < 0 ? -1 : write(file, "burgled\n", 8);
}

static void show(const char *deed, const char *path) {
    char text[100];
    int file = open(path, O_RDONLY);
    long count = file < 0 ? -1 : read(file, text, sizeof text);
    tell(deed, count);
    if (count > 0) printf("%s got %.*s\n", deed, (int)count, text);
}

static long connect_unix(const char *name, int is_abstract) {
    struct sockaddr_un there = {.sun_family = AF_UNIX};
    int end = socket(AF_UNIX, SOCK_STREAM, 0);
    if (end < 0) return -1;
    strncpy(there.sun_path + is_abstract, name, sizeof there.sun_path - 2);
    return connect(end, (void *)&there, offsetof(struct sockaddr_un, sun_path) + is_abstract + strlen(name));
}

static long reach_network(int kind, int port) {
    struct sockaddr_in there = {AF_INET, htons(port), {htonl(INADDR_LOOPBACK)}};
    int end = socket(AF_INET, kind, 0);
    if (end < 0) return -1;
    if (kind == SOCK_STREAM) return connect(end, (void *)&there, sizeof there);
    return sendto(end, "burgled", 7, 0, (void *)&there, sizeof there);
}

static const char *loader(void) {
    const char *known[] = {"/lib64/ld-linux-x86-64.so.2", "/lib/ld-linux-aarch64.so.1",
                           "/lib/ld-linux-riscv64-lp64d.so.1"};
    for (int i = 0; i < 3; i++)
        if (access(known[i], F_OK) == 0) return known[i];
    return "/";
}

/* Each in a child of its own: where it works nobody comes back. */
static void execute(const char *deed, const char *program, const char *argument) {
    pid_t child = fork();
    if (child == 0) {
        execl(program, program, argument ? argument : deed, deed, (char *)0);
        tell(deed, -1);
        _exit(1);
    }
    waitpid(child, 0, 0);
}

static void execute_from_memory(void) {
    static char image[1 << 20];
    char path[40];
    int file = open("uploaded", O_RDONLY), memory = memfd_create("m", 0);
    if (file < 0 || memory < 0) return tell("exec-memory", -1);
    long count = read(file, image, sizeof image);
    if (write(memory, image, count) != count) return tell("exec-memory", -1);
    snprintf(path, sizeof path, "/proc/self/fd/%d", memory);
    execute("exec-memory", path, 0);
}

/* A child that leaves the process group which the gate ends. It locks a file in the own tree: who looks there learns
 * its number, which it does not know itself where it has a namespace of its own. */
static void stay_behind(void) {
    pid_t child = fork();
    if (child) {
        for (int i = 0; i < 100 && access("settled", F_OK) != 0; i++) usleep(20000);
        return;
    }
    long left = setsid();
    tell("stay-behind", left);
    if (left < 0) close(open("settled", O_CREAT | O_WRONLY, 0600));
    if (left > 0) {
        struct flock whole = {.l_type = F_WRLCK};
        fcntl(open("left-behind", O_CREAT | O_WRONLY, 0600), F_SETLK, &whole);
        close(open("settled", O_CREAT | O_WRONLY, 0600));
        for (int i = 0; i < 3; i++) close(i);
        sleep(600);
    }
    _exit(0);
}

static void try_files(void) {
    struct stat seen;
    show("read", at("secret"));
    tell("create", put(at("created"), O_WRONLY | O_CREAT));
    tell("overwrite", put(at("overwritten"), O_WRONLY | O_TRUNC));
    tell("delete", unlink(at("deleted")));
    tell("append-keys", put(keys, O_WRONLY | O_APPEND));
    tell("chmod-keys", chmod(keys, 0644));
    tell("xattr-keys", setxattr(keys, "user.burgled", "x", 1, 0));
    tell("stat", stat(at("secret"), &seen));
    if (stat(at("secret"), &seen) == 0) printf("stat got size %lld\n", (long long)seen.st_size);
    tell("symlink", symlink(prey, "own-link"));
    tell("setuid", chmod("own-setuid", 04755));
}

static void try_processes(void) {
    struct rlimit none = {0, 0};
    char path[64];
    snprintf(path, sizeof path, "/proc/%d/oom_score_adj", to_adjust);
    int file = open(path, O_WRONLY);
    tell("proc-write", file < 0 ? -1 : write(file, "777", 3));
    tell("kill", kill(to_kill, SIGKILL));
    tell("prlimit", prlimit(to_limit, RLIMIT_NOFILE, &none, 0));
    tell("slow-down", setpriority(PRIO_PROCESS, to_slow, 19));
    tell("shared-memory", shmget(shm_key, 4096, IPC_CREAT | 0600));
    stay_behind();
}

static void try_kernel(void) {
    struct btrfs_ioctl_vol_args_v2 victim = {.flags = BTRFS_SUBVOL_SPEC_BY_ID};
    unsigned long long flags = 0;
    victim.subvolid = doomed;
    tell("destroy-by-id", ioctl(open(".", O_RDONLY), BTRFS_IOC_SNAP_DESTROY_V2, &victim));
    tell("thaw-in-push", ioctl(open("../" SNAPSHOT, O_RDONLY), BTRFS_IOC_SUBVOL_SETFLAGS, &flags));
    pid_t child = syscall(SYS_clone, CLONE_NEWUSER | SIGCHLD, 0, 0, 0, 0);
    if (child == 0) {
        printf("user-namespace got one\n");
        fflush(stdout);
        _exit(0);
    }
    tell("user-namespace", child);
    if (child > 0) waitpid(child, 0, 0);
}

int main(void) {
    if (orders(SNAPSHOT "/orders")) { /* a restore: only what is different there */
        unsigned long long flags = 0;
        struct btrfs_ioctl_vol_args_v2 victim = {.flags = BTRFS_SUBVOL_SPEC_BY_ID};
        victim.subvolid = doomed;
        show("read-in-pull", at("secret"));
        tell("write-in-pull", put(SNAPSHOT "/../current/by-a-restore", O_WRONLY | O_CREAT));
        tell("destroy-in-pull", ioctl(open(SNAPSHOT, O_RDONLY), BTRFS_IOC_SNAP_DESTROY_V2, &victim));
        tell("thaw-in-pull", ioctl(open(SNAPSHOT, O_RDONLY), BTRFS_IOC_SUBVOL_SETFLAGS, &flags));
        return 0;
    }
    if (!orders("orders")) return tell("orders", -1), 1;
    try_files();
    tell("unix-socket", connect_unix(listener, 0));
    tell("abstract-socket", connect_unix(abstract, 1));
    tell("tcp", reach_network(SOCK_STREAM, tcp));
    tell("udp", reach_network(SOCK_DGRAM, udp));
    execute("exec-upload", "./uploaded", 0);
    execute("exec-loader", loader(), "./uploaded");
    execute_from_memory();
    try_processes();
    try_kernel();
    printf("end of deeds\n");
    return 0;
}
