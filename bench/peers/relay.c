/*
 * relay: the floor that Tapline is measured against. Carries frames between two devices with one read and one write each, and
 * looks at nothing in them: no learning, no counters, no headers.
 *
 *     relay /run/netns/a:eth0 /run/netns/b:eth0
 *     relay /run/netns/a:eth0 packet:/run/netns/machine:up0
 *
 * Each argument is a network namespace and the name of the TAP made there; with `packet:` in front, the name of a device that
 * is there, which an AF_PACKET socket takes frames from and gives frames to. Both kinds carry virtio-net headers and take TCP
 * segmentation and checksums from the kernel, as Tapline's do, so both move packets of up to 64 KiB. Prints `ready` once both
 * are open and runs until it is killed; TAPs go with it.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <poll.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <signal.h>
#include <unistd.h>

/* virtio-net header, Ethernet header with two VLAN tags, and the largest IP packet. */
#define FRAME_MAX (10 + 22 + 65535)
/* Frames taken from one TAP before the other is looked at, so that one direction cannot starve the other. */
#define BUDGET 64
#define PACKET_PREFIX "packet:"
/* Bytes that may wait in an AF_PACKET socket, each way: as Tapline's uplink has it. */
#define SOCKET_BUFFER (32 << 20)

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

/* Enters the namespace of `where` ("NETNS:INTERFACE") and gives the interface's name. */
static const char *enter_of(char *where) {
  char *name = strrchr(where, ':');
  if (!name || !name[1] || strlen(name + 1) >= IFNAMSIZ) {
    fprintf(stderr, "relay: expected NETNS:INTERFACE, got %s\n", where);
    exit(2);
  }
  *name++ = 0;
  enter(where);
  return name;
}

/* A TAP belongs to the namespace in which /dev/net/tun was opened. */
static int open_tap(char *where) {
  const char *name = enter_of(where);
  int fd = open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC);
  if (fd < 0) die("opening", "/dev/net/tun");
  struct ifreq request = {.ifr_flags = IFF_TAP | IFF_NO_PI | IFF_VNET_HDR};
  strcpy(request.ifr_name, name);
  if (ioctl(fd, TUNSETIFF, &request) < 0) die("creating TAP", name);
  if (ioctl(fd, TUNSETOFFLOAD, TUN_F_CSUM | TUN_F_TSO4 | TUN_F_TSO6) < 0) die("setting offloads of", name);
  return fd;
}

static void set(int fd, int level, int option, const void *value, socklen_t length, const char *name) {
  if (setsockopt(fd, level, option, value, length) < 0) die("preparing the socket of", name);
}

/* A socket belongs to the namespace in which it was made. Frames for other MACs than the device's are taken as well. */
static int open_packet(char *where) {
  const char *name = enter_of(where);
  int fd = socket(AF_PACKET, SOCK_RAW | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  if (fd < 0) die("opening a socket for", name);
  struct sockaddr_ll at = {.sll_family = AF_PACKET, .sll_protocol = htons(ETH_P_ALL), .sll_ifindex = if_nametoindex(name)};
  if (at.sll_ifindex == 0) die("finding", name);
  struct packet_mreq promiscuous = {.mr_ifindex = at.sll_ifindex, .mr_type = PACKET_MR_PROMISC};
  int on = 1, buffer = SOCKET_BUFFER;
  set(fd, SOL_PACKET, PACKET_VNET_HDR, &on, sizeof on, name);
  set(fd, SOL_PACKET, PACKET_IGNORE_OUTGOING, &on, sizeof on, name);
  set(fd, SOL_PACKET, PACKET_ADD_MEMBERSHIP, &promiscuous, sizeof promiscuous, name);
  set(fd, SOL_SOCKET, SO_RCVBUFFORCE, &buffer, sizeof buffer, name);
  set(fd, SOL_SOCKET, SO_SNDBUFFORCE, &buffer, sizeof buffer, name);
  if (bind(fd, (struct sockaddr *)&at, sizeof at) < 0) die("binding to", name);
  return fd;
}

static int open_device(char *where) {
  size_t prefix = strlen(PACKET_PREFIX);
  return strncmp(where, PACKET_PREFIX, prefix) == 0 ? open_packet(where + prefix) : open_tap(where);
}

/* Moves what `from` has, at most BUDGET frames. A frame that `to` refuses (interface down, out of memory) is lost. */
static void carry(int from, int to) {
  for (int i = 0; i < BUDGET; i++) {
    ssize_t length = read(from, frame, sizeof frame);
    if (length < 0 && errno != EAGAIN) die("reading", "frames");
    if (length <= 0) return;
    if (write(to, frame, length) < 0 && errno == EBADFD) die("writing", "frames");
  }
}

int main(int argc, char **argv) {
  if (argc != 3) {
    fprintf(stderr, "usage: relay [packet:]NETNS:INTERFACE [packet:]NETNS:INTERFACE\n");
    return 2;
  }
  prctl(PR_SET_PDEATHSIG, SIGKILL); /* a benchmark that dies leaves no relay behind */
  int a = open_device(argv[1]);
  int b = open_device(argv[2]);
  puts("ready");
  fflush(stdout);
  struct pollfd waits[2] = {{.fd = a, .events = POLLIN}, {.fd = b, .events = POLLIN}};
  for (;;) {
    if (poll(waits, 2, -1) < 0 && errno != EINTR) die("waiting for", "frames");
    if (waits[0].revents & POLLIN) carry(a, b);
    if (waits[1].revents & POLLIN) carry(b, a);
  }
}
