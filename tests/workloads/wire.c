/* One HTTP/1.1 request and response for every system call that moves bytes over a socket.
 *
 *   wire serve SEND RECEIVE
 *   wire request SEND RECEIVE PORT PATH COUNT
 *
 * SEND and RECEIVE name the calls (tables below). Requests carry a body of BODY bytes and so do
 * responses, over one connection that is kept alive. Exchanges are logged as http1.py does.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

enum { BODY = 5000, PARTS = 20, CAPACITY = 1 << 16 };

static char body[BODY];
static int body_file = -1;
static int pipe_read = -1, pipe_write = -1;

static void fail(const char *what) {
    perror(what);
    exit(1);
}

static long long now(void) {
    struct timespec time;
    clock_gettime(CLOCK_REALTIME, &time);
    return time.tv_sec * 1000000000LL + time.tv_nsec;
}

static void log_exchange(const char *side, const char *path, int status, long long start) {
    printf("{\"side\":\"%s\",\"pid\":%d,\"method\":\"POST\",\"path\":\"%s\",\"status\":%d,"
           "\"whole\":true,\"start\":%lld,\"end\":%lld}\n",
           side, getpid(), path, status, start, now());
    fflush(stdout);
}

/* Sending ------------------------------------------------------------------------------------ */

static void put(int fd, const char *data, size_t length) {
    while (length > 0) {
        ssize_t sent = write(fd, data, length);
        if (sent < 0) fail("write");
        data += sent;
        length -= (size_t)sent;
    }
}

/* What a vectored call left over. */
static void put_rest(int fd, const char *head, size_t length, size_t sent) {
    if (sent < length) {
        put(fd, head + sent, length - sent);
        sent = length;
    }
    put(fd, body + (sent - length), BODY - (sent - length));
}

static void send_write(int fd, const char *head, size_t length) {
    put(fd, head, length);
    put(fd, body, BODY);
}

static void send_bytes(int fd, const char *head, size_t length) {
    for (size_t i = 0; i < length; i++) put(fd, head + i, 1);
    put(fd, body, BODY);
}

static void send_writev(int fd, const char *head, size_t length) {
    struct iovec parts[2] = {{(void *)head, length}, {body, BODY}};
    ssize_t sent = writev(fd, parts, 2);
    if (sent < 0) fail("writev");
    put_rest(fd, head, length, (size_t)sent);
}

static void send_writev_many(int fd, const char *head, size_t length) {
    struct iovec parts[PARTS + 1];
    size_t step = length / PARTS;
    for (size_t i = 0; i < PARTS; i++) {
        parts[i].iov_base = (void *)(head + i * step);
        parts[i].iov_len = i + 1 == PARTS ? length - i * step : step;
    }
    parts[PARTS].iov_base = body;
    parts[PARTS].iov_len = BODY;
    ssize_t sent = writev(fd, parts, PARTS + 1);
    if (sent < 0) fail("writev");
    put_rest(fd, head, length, (size_t)sent);
}

static void send_pwritev2(int fd, const char *head, size_t length) {
    struct iovec parts[2] = {{(void *)head, length}, {body, BODY}};
    ssize_t sent = pwritev2(fd, parts, 2, -1, 0); /* Position -1: as writev. */
    if (sent < 0) fail("pwritev2");
    put_rest(fd, head, length, (size_t)sent);
}

static void send_sendto(int fd, const char *head, size_t length) {
    ssize_t sent = sendto(fd, head, length, MSG_MORE, NULL, 0);
    if (sent < 0) fail("sendto");
    put_rest(fd, head, length, (size_t)sent);
}

static void send_sendmsg(int fd, const char *head, size_t length) {
    struct iovec parts[2] = {{(void *)head, length}, {body, BODY}};
    struct msghdr message = {.msg_iov = parts, .msg_iovlen = 2};
    ssize_t sent = sendmsg(fd, &message, MSG_NOSIGNAL);
    if (sent < 0) fail("sendmsg");
    put_rest(fd, head, length, (size_t)sent);
}

/* Three messages in one call: half of the head, the rest of it, the body. */
static void send_sendmmsg(int fd, const char *head, size_t length) {
    size_t half = length / 2;
    struct iovec parts[3] = {
        {(void *)head, half}, {(void *)(head + half), length - half}, {body, BODY}};
    struct mmsghdr messages[3];
    memset(messages, 0, sizeof messages);
    for (int i = 0; i < 3; i++) {
        messages[i].msg_hdr.msg_iov = &parts[i];
        messages[i].msg_hdr.msg_iovlen = 1;
    }
    int count = sendmmsg(fd, messages, 3, 0);
    if (count < 0) fail("sendmmsg");
    size_t sent = 0;
    for (int i = 0; i < count; i++) sent += messages[i].msg_len;
    put_rest(fd, head, length, sent);
}

static void send_sendfile(int fd, const char *head, size_t length) {
    struct iovec part = {(void *)head, length};
    if (writev(fd, &part, 1) != (ssize_t)length) fail("writev");
    off_t offset = 0;
    while (offset < BODY)
        if (sendfile(fd, body_file, &offset, (size_t)(BODY - offset)) <= 0) fail("sendfile");
}

static void send_splice(int fd, const char *head, size_t length) {
    put(fd, head, length);
    off_t offset = 0;
    while (offset < BODY) {
        ssize_t in = splice(body_file, &offset, pipe_write, NULL, (size_t)(BODY - offset), 0);
        if (in <= 0) fail("splice from file");
        while (in > 0) {
            ssize_t out = splice(pipe_read, NULL, fd, NULL, (size_t)in, 0);
            if (out <= 0) fail("splice to socket");
            in -= out;
        }
    }
}

static void send_dup(int fd, const char *head, size_t length) {
    int other = dup(fd);
    put(other, head, length);
    int third = fcntl(fd, F_DUPFD_CLOEXEC, 100);
    put(third, body, BODY);
    close(other);
    close(third);
}

/* Receiving ---------------------------------------------------------------------------------- */

static ssize_t get_read(int fd, char *data, size_t length) { return read(fd, data, length); }
static ssize_t get_bytes(int fd, char *data, size_t length) {
    return read(fd, data, length > 0 ? 1 : 0);
}

static ssize_t get_readv(int fd, char *data, size_t length) {
    struct iovec parts[3] = {{data, length < 3 ? length : 3}, {NULL, 0}, {NULL, 0}};
    if (length > 8) {
        parts[1] = (struct iovec){data + 3, 5};
        parts[2] = (struct iovec){data + 8, length - 8};
    }
    return readv(fd, parts, 3);
}

static ssize_t get_preadv2(int fd, char *data, size_t length) {
    struct iovec part = {data, length};
    return preadv2(fd, &part, 1, -1, 0);
}

static ssize_t get_recvfrom(int fd, char *data, size_t length) {
    return recvfrom(fd, data, length, 0, NULL, NULL);
}

static ssize_t get_recvmsg(int fd, char *data, size_t length) {
    struct iovec parts[2] = {{data, length / 2}, {data + length / 2, length - length / 2}};
    struct msghdr message = {.msg_iov = parts, .msg_iovlen = 2};
    return recvmsg(fd, &message, 0);
}

/* Up to four messages of 64 bytes each, as many as there are. */
static ssize_t get_recvmmsg(int fd, char *data, size_t length) {
    if (length < 256) return read(fd, data, length);
    struct iovec parts[4];
    struct mmsghdr messages[4];
    memset(messages, 0, sizeof messages);
    for (int i = 0; i < 4; i++) {
        parts[i] = (struct iovec){data + 64 * i, 64};
        messages[i].msg_hdr.msg_iov = &parts[i];
        messages[i].msg_hdr.msg_iovlen = 1;
    }
    int count = recvmmsg(fd, messages, 4, MSG_WAITFORONE, NULL);
    if (count <= 0) return count;
    ssize_t total = 0;
    for (int i = 0; i < count; i++) {
        /* A short message that others follow leaves a hole; close it. */
        memmove(data + total, data + 64 * i, messages[i].msg_len);
        total += messages[i].msg_len;
    }
    return total;
}

/* Looks first: what is looked at is not received yet, and must not count. */
static ssize_t get_peek(int fd, char *data, size_t length) {
    ssize_t seen = recv(fd, data, length, MSG_PEEK);
    return seen <= 0 ? seen : recv(fd, data, (size_t)seen, 0);
}

static ssize_t get_nonblocking(int fd, char *data, size_t length) {
    fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
    ssize_t got;
    while ((got = read(fd, data, length)) < 0 && errno == EAGAIN) {
        struct pollfd poll_for = {fd, POLLIN, 0};
        poll(&poll_for, 1, -1);
    }
    int error = errno;
    fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) & ~O_NONBLOCK);
    errno = error;
    return got;
}

/* Takes `length` bytes of body from the socket with whatever call the form has for it. */
static void skip_through(ssize_t (*get)(int, char *, size_t), int fd, size_t length) {
    static char waste[CAPACITY];
    while (length > 0) {
        ssize_t got = get(fd, waste, length < sizeof waste ? length : sizeof waste);
        if (got <= 0) fail("body");
        length -= (size_t)got;
    }
}

static ssize_t take_splice(int fd, char *data, size_t length) {
    ssize_t got = splice(fd, NULL, pipe_write, NULL, length, 0);
    if (got > 0 && read(pipe_read, data, (size_t)got) != got) fail("pipe");
    return got;
}

static ssize_t take_discard(int fd, char *data, size_t length) {
    (void)data;
    return recv(fd, NULL, length, MSG_TRUNC); /* TCP throws the bytes away. */
}

static ssize_t take_all(int fd, char *data, size_t length) {
    return recv(fd, data, length, MSG_WAITALL);
}

/* The forms ---------------------------------------------------------------------------------- */

static const struct {
    const char *name;
    void (*send)(int, const char *, size_t);
} SENDS[] = {
    {"write", send_write},       {"bytes", send_bytes},     {"writev", send_writev},
    {"writev-many", send_writev_many}, {"pwritev2", send_pwritev2}, {"sendto", send_sendto},
    {"sendmsg", send_sendmsg},   {"sendmmsg", send_sendmmsg}, {"sendfile", send_sendfile},
    {"splice", send_splice},     {"dup", send_dup},
};

/* `exact`: the head is read to its last byte and no further, so that the body can be taken in
 * another way. */
static const struct {
    const char *name;
    ssize_t (*get)(int, char *, size_t);
    ssize_t (*take)(int, char *, size_t);
    int exact;
} RECEIVES[] = {
    {"read", get_read, get_read, 0},
    {"bytes", get_bytes, get_bytes, 0},
    {"readv", get_readv, get_readv, 0},
    {"preadv2", get_preadv2, get_preadv2, 0},
    {"recvfrom", get_recvfrom, get_recvfrom, 0},
    {"recvmsg", get_recvmsg, get_recvmsg, 0},
    {"recvmmsg", get_recvmmsg, get_recvmmsg, 0},
    {"peek", get_peek, get_peek, 0},
    {"nonblocking", get_nonblocking, get_nonblocking, 0},
    {"splice", get_read, take_splice, 1},
    {"discard", get_read, take_discard, 1},
    {"waitall", get_read, take_all, 1},
};

static int send_form, receive_form;

static int find(const char *name, const void *table, size_t size, size_t count) {
    for (size_t i = 0; i < count; i++)
        if (strcmp(*(const char *const *)((const char *)table + i * size), name) == 0)
            return (int)i;
    fprintf(stderr, "wire: no form `%s`\n", name);
    exit(2);
}

/* Reads one message: its head into `head` (ended by a zero byte), its body into nothing.
 * Returns 0 when the peer has left. */
static int receive(int fd, char *head, size_t capacity) {
    size_t have = 0;
    char *end = NULL;
    while (end == NULL) {
        size_t want = capacity - 1 - have;
        if (RECEIVES[receive_form].exact) want = 1;
        ssize_t got = RECEIVES[receive_form].get(fd, head + have, want);
        if (got == 0 && have == 0) return 0;
        if (got <= 0) fail("head");
        have += (size_t)got;
        head[have] = 0;
        end = memmem(head, have, "\r\n\r\n", 4);
    }
    size_t over = have - (size_t)(end + 4 - head);
    end[2] = 0;
    skip_through(RECEIVES[receive_form].take, fd, BODY - over);
    return 1;
}

/* Calls that fail must not count: a socket has no position, a closed descriptor no bytes. */
static void failing_calls(int fd) {
    char waste[4];
    if (pread(fd, waste, sizeof waste, 0) >= 0 || errno != ESPIPE) fail("pread");
    if (pwrite(fd, "GET ", 4, 0) >= 0 || errno != ESPIPE) fail("pwrite");
    if (write(-1, "GET / HTTP/1.1\r\n\r\n", 18) >= 0 || errno != EBADF) fail("bad descriptor");
    void *forbidden = mmap(NULL, 4096, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (write(fd, forbidden, 18) >= 0 || errno != EFAULT) fail("bad address");
    munmap(forbidden, 4096);
}

static void answer(int fd) {
    char head[CAPACITY], path[1024];
    failing_calls(fd);
    while (receive(fd, head, sizeof head)) {
        long long start = now();
        if (sscanf(head, "POST %1023s", path) != 1) fail("request line");
        char text[256];
        int length = snprintf(text, sizeof text,
                              "HTTP/1.1 200 OK\r\nServer: wire\r\nContent-Type: text/plain\r\n"
                              "Content-Length: %d\r\n\r\n", BODY);
        SENDS[send_form].send(fd, text, (size_t)length);
        log_exchange("server", path, 200, start);
    }
    close(fd);
}

static void serve(void) {
    int listener = socket(AF_INET, SOCK_STREAM, 0);
    struct sockaddr_in address = {.sin_family = AF_INET};
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t length = sizeof address;
    if (bind(listener, (struct sockaddr *)&address, length) || listen(listener, 16)) fail("listen");
    getsockname(listener, (struct sockaddr *)&address, &length);
    printf("{\"ready\":%d}\n", ntohs(address.sin_port));
    fflush(stdout);
    for (;;) {
        int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
        if (fd < 0) fail("accept");
        int on = 1;
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
        answer(fd);
    }
}

static void request(int port, const char *path, int count) {
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (connect(fd, (struct sockaddr *)&address, sizeof address)) fail("connect");
    int on = 1;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    failing_calls(fd);
    for (int i = 0; i < count; i++) {
        char text[2048], own[1024], head[CAPACITY];
        snprintf(own, sizeof own, "%s/%d", path, i);
        int length = snprintf(text, sizeof text,
                              "POST %s HTTP/1.1\r\nHost: 127.0.0.1:%d\r\nUser-Agent: wire\r\n"
                              "Accept: */*\r\nContent-Length: %d\r\n\r\n", own, port, BODY);
        long long start = now();
        SENDS[send_form].send(fd, text, (size_t)length);
        int status = 0;
        if (!receive(fd, head, sizeof head) || sscanf(head, "HTTP/1.1 %d", &status) != 1)
            fail("response");
        log_exchange("client", own, status, start);
    }
    close(fd);
}

int main(int count, char **arguments) {
    if (count < 4) return 2;
    memset(body, 'b', sizeof body);
    body_file = memfd_create("body", MFD_CLOEXEC);
    int ends[2];
    if (body_file < 0 || write(body_file, body, BODY) != BODY || pipe2(ends, O_CLOEXEC)) fail("set-up");
    pipe_read = ends[0];
    pipe_write = ends[1];
    send_form = find(arguments[2], SENDS, sizeof SENDS[0], sizeof SENDS / sizeof SENDS[0]);
    receive_form = find(arguments[3], RECEIVES, sizeof RECEIVES[0], sizeof RECEIVES / sizeof RECEIVES[0]);
    if (strcmp(arguments[1], "serve") == 0) serve();
    if (count < 7) return 2;
    request(atoi(arguments[4]), arguments[5], atoi(arguments[6]));
    return 0;
}
