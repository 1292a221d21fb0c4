/*
 * relay: the floor that Tapline is measured against. Carries frames between two TAP devices with one read and one write each,
 * and looks at nothing in them: no learning, no counters, no headers.
 *
 *     relay /run/netns/a:eth0 /run/netns/b:eth0
 *
 * Each argument is a network namespace and the name of the TAP made there. The TAPs carry virtio-net headers and take TCP
 * segmentation and checksums from the kernel, as Tapline's do, so both move packets of up to 64 KiB. Prints `ready` once both
 * devices exist and runs until it is killed; the devices go with it.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <poll.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <signal.h>
#include <unistd.h>

/* virtio-net header, Ethernet header with two VLAN tags, and the largest IP packet. */
#define FRAME_MAX (10 + 22 + 65535)
/* Frames taken from one TAP before the other is looked at, so that one direction cannot starve the other. */
#define BUDGET 64

static char frame[FRAME_MAX];

static void die(const char *what, const char *name) {
  fprintf(stderr, "relay: %s %s: %s\n", what, name, strerror(errno));
  exit(1);
}

static void enter(const char *netns) {
  int fd = open(netns, O_RDONLY | O_CLOEXEC);
  if (fd < 0 || setns(fd, CLONE_NEWNET) < 0) die("entering namespace", netns);
  close(fd);
}

/* Opens the TAP named in `where` ("NETNS:INTERFACE"). A TAP belongs to the namespace in which /dev/net/tun was opened. */
static int open_tap(char *where) {
  char *name = strrchr(where, ':');
  if (!name || strlen(name + 1) >= IFNAMSIZ) {
    fprintf(stderr, "relay: expected NETNS:INTERFACE, got %s\n", where);
    exit(2);
  }
  *name++ = 0;
  enter(where);
  int fd = open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC);
  if (fd < 0) die("opening", "/dev/net/tun");
  struct ifreq request = {.ifr_flags = IFF_TAP | IFF_NO_PI | IFF_VNET_HDR};
  strcpy(request.ifr_name, name);
  if (ioctl(fd, TUNSETIFF, &request) < 0) die("creating TAP", name);
  if (ioctl(fd, TUNSETOFFLOAD, TUN_F_CSUM | TUN_F_TSO4 | TUN_F_TSO6) < 0) die("setting offloads of", name);
  return fd;
}

/* Moves what `from` has, at most BUDGET frames. A frame that `to` refuses (interface down, out of memory) is lost. */
static void carry(int from, int to) {
  for (int i = 0; i < BUDGET; i++) {
    ssize_t length = read(from, frame, sizeof frame);
    if (length < 0 && errno != EAGAIN) die("reading", "TAP");
    if (length <= 0) return;
    if (write(to, frame, length) < 0 && errno == EBADFD) die("writing", "TAP");
  }
}

int main(int argc, char **argv) {
  if (argc != 3) {
    fprintf(stderr, "usage: relay NETNS:INTERFACE NETNS:INTERFACE\n");
    return 2;
  }
  prctl(PR_SET_PDEATHSIG, SIGKILL); /* a benchmark that dies leaves no relay behind */
  int a = open_tap(argv[1]);
  int b = open_tap(argv[2]);
  puts("ready");
  fflush(stdout);
  struct pollfd waits[2] = {{.fd = a, .events = POLLIN}, {.fd = b, .events = POLLIN}};
  for (;;) {
    if (poll(waits, 2, -1) < 0 && errno != EINTR) die("waiting for", "TAPs");
    if (waits[0].revents & POLLIN) carry(a, b);
    if (waits[1].revents & POLLIN) carry(b, a);
  }
}
