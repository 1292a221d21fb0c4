/*
 * sender: UDP at a fixed rate, in frames of 64 bytes (14 Ethernet, 20 IPv4, 8 UDP, 22 payload; without the frame check sequence).
 *
 *     sender ADDRESS PORT PACKETS_PER_SECOND SECONDS
 *
 * Every TICK_NS it sends what is due, in one sendmmsg(2). A sender that falls behind skips what it missed instead of sending
 * it in a burst. Prints the number of packets that the socket took.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <time.h>

#define PAYLOAD 22
#define TICK_NS 200000LL /* 10 packets a burst at 50,000 packets/s */
#define BURST_MAX 256

static long long now_ns(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return t.tv_sec * 1000000000LL + t.tv_nsec;
}

static void sleep_until(long long ns) {
  struct timespec t = {.tv_sec = ns / 1000000000LL, .tv_nsec = ns % 1000000000LL};
  while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &t, NULL) == EINTR) {
  }
}

static int connected(const char *address, const char *port) {
  struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(atoi(port))};
  int fd = socket(AF_INET, SOCK_DGRAM, 0);
  if (inet_pton(AF_INET, address, &to.sin_addr) != 1 || fd < 0 || connect(fd, (struct sockaddr *)&to, sizeof to) < 0) {
    fprintf(stderr, "sender: connecting to %s:%s: %s\n", address, port, strerror(errno));
    exit(1);
  }
  return fd;
}

int main(int argc, char **argv) {
  if (argc != 5 || atoll(argv[3]) <= 0 || atoll(argv[4]) <= 0) {
    fprintf(stderr, "usage: sender ADDRESS PORT PACKETS_PER_SECOND SECONDS\n");
    return 2;
  }
  int fd = connected(argv[1], argv[2]);
  long long rate = atoll(argv[3]), duration = atoll(argv[4]) * 1000000000LL;
  prctl(PR_SET_TIMERSLACK, 1UL); /* the default of 50 us would blur a tick of 200 us */

  static char payload[PAYLOAD];
  struct iovec part = {.iov_base = payload, .iov_len = PAYLOAD};
  static struct mmsghdr burst[BURST_MAX];
  for (int i = 0; i < BURST_MAX; i++) burst[i].msg_hdr = (struct msghdr){.msg_iov = &part, .msg_iovlen = 1};

  long long start = now_ns(), due = 0, sent = 0;
  for (long long tick = 1; now_ns() - start < duration; tick++) {
    long long target = tick * TICK_NS * rate / 1000000000LL;
    int count = target - due > BURST_MAX ? BURST_MAX : (int)(target - due);
    due = target;
    int taken = count > 0 ? sendmmsg(fd, burst, count, 0) : 0;
    if (taken > 0) sent += taken;
    long long late = (now_ns() - start) / TICK_NS;
    if (late > tick + 1) {
      tick = late;
      due = tick * TICK_NS * rate / 1000000000LL;
    }
    sleep_until(start + (tick + 1) * TICK_NS);
  }
  printf("%lld\n", sent);
  return 0;
}
