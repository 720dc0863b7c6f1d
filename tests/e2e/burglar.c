/* Stands in for an rsync that an attacker has taken over: it is started by the gate in rsync's place and tries
 * whatever such a program would try. Prints one line for each deed: its name, then "done" or the errno.
 * Usage: the gate's; the deeds aim at ../../victim and at what lies around the store. */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

struct subvolume { long long fd; char name[4088]; };
#define SNAP_DESTROY _IOW(0x94, 15, struct subvolume)
#define SUBVOL_CREATE _IOW(0x94, 14, struct subvolume)
#define SUBVOL_SETFLAGS _IOW(0x94, 26, unsigned long long)

static void tell(const char *deed, long result) {
    if (result < 0) printf("%s %s\n", deed, strerrorname_np(errno));
    else printf("%s done\n", deed);
    fflush(stdout);
}

static int subvolume(unsigned long request, const char *name) {
    struct subvolume s = {0};
    int here = open(".", O_RDONLY | O_DIRECTORY);
    strcpy(s.name, name);
    return ioctl(here, request, &s);
}

int main(void) {
    struct sockaddr_in there = {.sin_family = AF_INET, .sin_port = htons(22), .sin_addr = {htonl(INADDR_LOOPBACK)}};
    char buffer[16];
    /* Before anything is opened here. */
    for (int fd = 3; fd < 64; fd++) {
        int flags = fcntl(fd, F_GETFL);
        struct stat seen;
        /* An open directory of the server would be a way out; what is only locked is not. */
        if (flags >= 0 && fstat(fd, &seen) == 0 && S_ISDIR(seen.st_mode)) tell("inherited-directory", 0);
        if (flags >= 0 && (flags & O_ACCMODE) != O_WRONLY && S_ISREG(seen.st_mode) && read(fd, buffer, 1) > 0)
            tell("inherited-file", 0);
    }

    /* One thing that must work, or the others prove nothing. */
    tell("write-own", open("own-file", O_CREAT | O_RDWR, 0600));

    tell("read-victim", open("../../victim/current/secret", O_RDONLY));
    tell("list-victim", opendir("../../victim/current") ? 0 : -1);
    tell("write-victim", open("../../victim/current/new", O_CREAT | O_WRONLY, 0600));
    tell("remove-victim", unlink("../../victim/current/secret"));
    tell("read-own-snapshots", opendir("..") ? 0 : -1);
    tell("read-keys", open("../../.ssh/authorized_keys", O_RDONLY));
    tell("append-keys", open("../../.ssh/authorized_keys", O_WRONLY | O_APPEND));
    tell("read-state", opendir("../../.byteback") ? 0 : -1);
    tell("read-passwd", open("/etc/passwd", O_RDONLY));
    tell("write-tmp", open("/tmp/burglar", O_CREAT | O_WRONLY, 0600));
    tell("make-symlink", symlink("../../victim/current", "way-out"));
    tell("make-device", mknod("device", S_IFCHR | 0600, 0x103));
    tell("hard-link", link("../../victim/current/secret", "linked"));
    tell("rename-out", rename("own-file", "../../victim/current/own-file"));
    tell("make-subvolume", subvolume(SUBVOL_CREATE, "nested"));
    tell("destroy-subvolume", subvolume(SNAP_DESTROY, "nested"));
    unsigned long long read_only = 2;
    tell("set-read-only", ioctl(open(".", O_RDONLY), SUBVOL_SETFLAGS, &read_only));
    int net = socket(AF_INET, SOCK_STREAM, 0);
    tell("connect", net < 0 ? -1 : connect(net, (struct sockaddr *)&there, sizeof there));
    tell("trace-parent", ptrace(PTRACE_ATTACH, getppid(), 0, 0));
    /* 0: the parent is in another namespace; kill(2) would take it as the own group. */
    tell("signal-parent", getppid() > 0 ? kill(getppid(), SIGCONT) : (errno = ESRCH, -1));
    tell("mount", mount("none", "/tmp", "tmpfs", 0, 0));
    tell("become-root", setuid(0));
    execl("/bin/sh", "sh", "-c", "echo run-a-shell done", (char *)0);
    tell("run-a-shell", -1);
    return 0;
}
