/*
 * udp-ping: round trips of lone UDP datagrams to a udp-echo, as ping(8) has them of ICMP, which a published port does not carry.
 *
 *     udp-ping ADDRESS PORT COUNT INTERVAL_US
 *
 * Prints a line `time=MILLISECONDS` for each that came back, and last `lost COUNT`. One that takes longer than a second is lost.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <poll.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <time.h>

#define TIMEOUT_MS 1000
#define PAYLOAD 56 /* as ping(8) sends */

static long long now_ns(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return t.tv_sec * 1000000000LL + t.tv_nsec;
}

static int connected(const char *address, const char *port) {
  struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(atoi(port))};
  int fd = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK, 0);
  if (inet_pton(AF_INET, address, &to.sin_addr) != 1 || fd < 0 || connect(fd, (struct sockaddr *)&to, sizeof to) < 0) {
    fprintf(stderr, "udp-ping: connecting to %s:%s: %s\n", address, port, strerror(errno));
    exit(1);
  }
  return fd;
}

/* Nanoseconds until the datagram of this number is back; -1: lost. Late ones of before are passed over. */
static long long round_trip(int fd, uint32_t number) {
  static char payload[PAYLOAD];
  memcpy(payload, &number, sizeof number);
  long long start = now_ns(), deadline = start + TIMEOUT_MS * 1000000LL;
  if (send(fd, payload, sizeof payload, 0) < 0) return -1;
  for (;;) {
    int wait = (int)((deadline - now_ns()) / 1000000LL);
    struct pollfd readable = {.fd = fd, .events = POLLIN};
    if (wait <= 0 || poll(&readable, 1, wait) <= 0) return -1;
    uint32_t answered;
    ssize_t size = recv(fd, payload, sizeof payload, 0);
    if (size < 0 && errno != EAGAIN) return -1; /* ICMP says that nobody listens */
    if (size < (ssize_t)sizeof answered) continue;
    memcpy(&answered, payload, sizeof answered);
    if (answered == number) return now_ns() - start;
  }
}

int main(int argc, char **argv) {
  if (argc != 5 || atoll(argv[3]) <= 0 || atoll(argv[4]) <= 0) {
    fprintf(stderr, "usage: udp-ping ADDRESS PORT COUNT INTERVAL_US\n");
    return 2;
  }
  int fd = connected(argv[1], argv[2]);
  long count = atol(argv[3]), lost = 0;
  long long interval = atoll(argv[4]) * 1000LL;
  prctl(PR_SET_TIMERSLACK, 1UL);
  for (long i = 0; i < count; i++) {
    long long next = now_ns() + interval;
    long long took = round_trip(fd, (uint32_t)i);
    if (took < 0) lost++;
    else printf("time=%.4f\n", took / 1e6);
    long long rest = next - now_ns();
    struct timespec pause = {.tv_nsec = rest % 1000000000LL, .tv_sec = rest / 1000000000LL};
    if (rest > 0) nanosleep(&pause, NULL);
  }
  printf("lost %ld\n", lost);
  return 0;
}
