/* The whole of a small guest, as its process 1: a ledger on a disk that it serves by TCP, and ways to die.
 *
 * A client sends a number in a line and gets it back when a record of it is on the disk (fdatasync). A record has 512
 * bytes: a magic, its sequence, the number, which boot of the guest wrote it, a checksum. Other lines are orders:
 * panic, hang, off, and measure KIND SIZE COUNT [DISK], which answers with the microseconds that it took.
 *
 * Kernel parameters: guest.address, guest.watchdog (seconds). */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <fcntl.h>
#include <glob.h>
#include <linux/input.h>
#include <net/if.h>
#include <pthread.h>
#include <sched.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define PORT 4700
#define MAGIC 0x3144524f43455221ull
#define LEDGER_BYTES (8u << 20) /* beyond it is the room for measurements */

struct record {
    uint64_t magic, sequence, number;
    char boot[40];
    uint64_t checksum;
    char rest[440];
};
_Static_assert(sizeof(struct record) == 512, "a record is a sector");

static pthread_mutex_t one = PTHREAD_MUTEX_INITIALIZER;
static int disk = -1;
static uint64_t sequence;
static char boot[40];

static uint64_t checksum(const struct record *r) {
    uint64_t sum = 14695981039346656037ull;
    const unsigned char *at = (const unsigned char *)r;
    for (size_t i = 0; i < offsetof(struct record, checksum); i++) sum = (sum ^ at[i]) * 1099511628211ull;
    return sum;
}

static int holds(uint64_t at) {
    struct record r;
    return pread(disk, &r, sizeof r, at * sizeof r) == sizeof r && r.magic == MAGIC && r.sequence == at
        && r.checksum == checksum(&r);
}

static int append(uint64_t number) {
    struct record r = {.magic = MAGIC, .number = number};
    pthread_mutex_lock(&one);
    r.sequence = sequence;
    memcpy(r.boot, boot, sizeof boot);
    r.checksum = checksum(&r);
    int done = (sequence + 1) * sizeof r <= LEDGER_BYTES && pwrite(disk, &r, sizeof r, sequence * sizeof r) == sizeof r
        && fdatasync(disk) == 0;
    if (done) sequence++;
    pthread_mutex_unlock(&one);
    return done;
}

static void put(const char *path, const char *text) {
    int fd = open(path, O_WRONLY);
    if (fd >= 0 && write(fd, text, strlen(text)) >= 0) close(fd);
}

static void switch_off(void) {
    sync();
    reboot(RB_POWER_OFF);
}

static void hang(void) {
    struct sched_param most = {.sched_priority = 99};
    put("/proc/sys/kernel/sched_rt_runtime_us", "-1");
    sched_setscheduler(0, SCHED_FIFO, &most);
    for (;;) continue;
}

/* write: buffered, and synced each time; direct: past the guest's cache, and not synced. */
static long measure(const char *kind, size_t size, int count, char letter) {
    int direct = strcmp(kind, "direct") == 0, read_only = strcmp(kind, "read") == 0;
    char path[] = "/dev/vda";
    path[7] = letter;
    int fd = open(path, O_RDWR | (direct || read_only ? O_DIRECT : 0));
    void *data;
    struct timespec from, to;
    if (fd < 0 || size > 1 << 20 || posix_memalign(&data, 4096, size)) return -1;
    memset(data, 7, size);
    clock_gettime(CLOCK_MONOTONIC, &from);
    for (int i = 0; i < count; i++) {
        off_t at = LEDGER_BYTES + (off_t)i * size;
        ssize_t did = read_only ? pread(fd, data, size, at) : pwrite(fd, data, size, at);
        if (did != (ssize_t)size || (!direct && !read_only && fdatasync(fd))) return -1;
    }
    clock_gettime(CLOCK_MONOTONIC, &to);
    free(data);
    close(fd);
    return (to.tv_sec - from.tv_sec) * 1000000 + (to.tv_nsec - from.tv_nsec) / 1000;
}

static void *serve_one(void *argument) {
    FILE *stream = fdopen((int)(intptr_t)argument, "r+");
    char line[64], kind[16], letter;
    unsigned long long number;
    size_t size;
    int count;
    while (stream && fgets(line, sizeof line, stream)) {
        fseek(stream, 0, SEEK_CUR);
        if (strncmp(line, "panic", 5) == 0) put("/proc/sysrq-trigger", "c");
        if (strncmp(line, "hang", 4) == 0) hang();
        if (strncmp(line, "off", 3) == 0) switch_off();
        letter = 'a';
        if (sscanf(line, "measure %15s %zu %d %c", kind, &size, &count, &letter) >= 3)
            fprintf(stream, "%ld\n", measure(kind, size, count, letter));
        else if (strncmp(line, "boot", 4) == 0)
            fprintf(stream, "%s\n", boot);
        else if (sscanf(line, "%llu", &number) != 1 || !append(number))
            break;
        else
            fprintf(stream, "%llu\n", number);
        fflush(stream);
    }
    if (stream) fclose(stream);
    return NULL;
}

static void begin(void *(*what)(void *), void *argument) {
    pthread_t thread;
    if (pthread_create(&thread, NULL, what, argument) == 0) pthread_detach(thread);
}

_Noreturn static void *serve(void *unused) {
    (void)unused;
    int yes = 1, listening = socket(AF_INET, SOCK_STREAM, 0);
    struct sockaddr_in any = {.sin_family = AF_INET, .sin_port = htons(PORT)};
    setsockopt(listening, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
    bind(listening, (struct sockaddr *)&any, sizeof any);
    listen(listening, 16);
    for (;;) {
        int fd = accept(listening, NULL, NULL);
        if (fd >= 0) begin(serve_one, (void *)(intptr_t)fd);
    }
}

static void *obey_the_power_button(void *path) {
    struct input_event event;
    int fd = open(path, O_RDONLY);
    while (fd >= 0 && read(fd, &event, sizeof event) == sizeof event)
        if (event.type == EV_KEY && event.code == KEY_POWER && event.value == 1) switch_off();
    return NULL;
}

/* Intel's 6300ESB watchdog, by its registers: Debian's kernel for clouds has no driver of it. */
static void *feed_the_watchdog(void *seconds) {
    glob_t found;
    volatile char *bar = MAP_FAILED;
    char vendor[16], path[300];
    glob("/sys/bus/pci/devices/*", 0, NULL, &found);
    for (size_t i = 0; i < found.gl_pathc && bar == MAP_FAILED; i++) {
        snprintf(path, sizeof path, "%s/device", found.gl_pathv[i]);
        int fd = open(path, O_RDONLY);
        if (fd < 0 || read(fd, vendor, 6) != 6 || strncmp(vendor, "0x25ab", 6)) continue;
        snprintf(path, sizeof path, "%s/enable", found.gl_pathv[i]);
        put(path, "1");
        snprintf(path, sizeof path, "%s/config", found.gl_pathv[i]);
        int config = open(path, O_RDWR);
        uint16_t internal = 0x0003;
        uint8_t enable = 0x02;
        pwrite(config, &internal, 2, 0x60);
        snprintf(path, sizeof path, "%s/resource0", found.gl_pathv[i]);
        bar = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, open(path, O_RDWR), 0);
        for (int timer = 0; bar != MAP_FAILED && timer < 2; timer++) {
            *(volatile uint16_t *)(bar + 0x0c) = 0x80;
            *(volatile uint16_t *)(bar + 0x0c) = 0x86;
            *(volatile uint32_t *)(bar + 4 * timer) = (uint32_t)(intptr_t)seconds << 9;
        }
        pwrite(config, &enable, 1, 0x68);
    }
    for (; bar != MAP_FAILED; usleep(200000)) {
        *(volatile uint16_t *)(bar + 0x0c) = 0x80;
        *(volatile uint16_t *)(bar + 0x0c) = 0x86;
        *(volatile uint16_t *)(bar + 0x0c) = 0x100;
    }
    puts("guest: no watchdog");
    return NULL;
}

static void parameter(const char *name, char *value, size_t size) {
    char line[2048] = "", *at;
    int fd = open("/proc/cmdline", O_RDONLY);
    if (fd >= 0 && read(fd, line, sizeof line - 1) > 0 && (at = strstr(line, name)))
        snprintf(value, size, "%.*s", (int)strcspn(at + strlen(name), " \n"), at + strlen(name));
}

static void set_address(const char *address) {
    struct ifreq request = {.ifr_name = "eth0"};
    struct sockaddr_in *to = (struct sockaddr_in *)&request.ifr_addr;
    int fd = socket(AF_INET, SOCK_DGRAM, 0);
    put("/proc/sys/net/ipv4/conf/all/arp_notify", "1");
    to->sin_family = AF_INET;
    inet_pton(AF_INET, address, &to->sin_addr);
    if (ioctl(fd, SIOCSIFADDR, &request)) perror("guest: address");
    inet_pton(AF_INET, "255.255.255.0", &to->sin_addr);
    ioctl(fd, SIOCSIFNETMASK, &request);
    request.ifr_flags = IFF_UP | IFF_RUNNING;
    ioctl(fd, SIOCSIFFLAGS, &request);
}

static void load(const char *name) {
    char path[128];
    snprintf(path, sizeof path, "/modules/%s.ko", name);
    int fd = open(path, O_RDONLY);
    if (fd < 0 || syscall(SYS_finit_module, fd, "", 0)) printf("guest: module %s\n", name);
    if (fd >= 0) close(fd);
}

static void find_the_end(void) {
    uint64_t low = 0, high = LEDGER_BYTES / sizeof(struct record);
    while (low < high) {
        uint64_t middle = (low + high) / 2;
        if (holds(middle)) low = middle + 1;
        else high = middle;
    }
    sequence = low;
}

static void start_agent(void) {
    char *argv[] = {"/agent/ld.so", "--library-path", "/agent", "/agent/qemu-ga", "-p", "/dev/vport0p1", NULL};
    glob_t ports;
    if (glob("/dev/vport*", 0, NULL, &ports) || access(argv[0], R_OK)) return;
    argv[5] = ports.gl_pathv[0];
    if (fork() == 0) execv(argv[0], argv);
}

int main(void) {
    char address[32] = "", seconds[8] = "";
    const char *modules[] = {"virtio_ring", "virtio", "virtio_pci_legacy_dev", "virtio_pci_modern_dev", "virtio_pci",
        "virtio_blk", "failover", "net_failover", "virtio_net", "virtio_console", "pvpanic", "pvpanic-mmio", "button",
        "evdev"};
    mount("proc", "/proc", "proc", 0, "");
    mount("sys", "/sys", "sysfs", 0, "");
    mount("dev", "/dev", "devtmpfs", 0, "");
    mkdir("/run", 0755);
    mkdir("/tmp", 01777);
    mkdir("/var", 0755);
    mkdir("/var/run", 0755);
    for (size_t i = 0; i < sizeof modules / sizeof *modules; i++) load(modules[i]);
    int fd = open("/proc/sys/kernel/random/boot_id", O_RDONLY);
    if (fd >= 0 && read(fd, boot, 36) == 36) close(fd);
    for (int tries = 0; tries < 200 && (disk = open("/dev/vda", O_RDWR)) < 0; tries++) usleep(10000);
    find_the_end();
    parameter("guest.address=", address, sizeof address);
    parameter("guest.watchdog=", seconds, sizeof seconds);
    set_address(address);
    glob_t inputs;
    if (glob("/dev/input/event*", 0, NULL, &inputs) == 0)
        for (size_t i = 0; i < inputs.gl_pathc; i++) begin(obey_the_power_button, inputs.gl_pathv[i]);
    if (atoi(seconds) > 0) begin(feed_the_watchdog, (void *)(intptr_t)atoi(seconds));
    begin(serve, NULL);
    start_agent();
    printf("guest: serves %s from record %llu\n", address, (unsigned long long)sequence);
    fflush(stdout);
    for (;;) if (wait(NULL) < 0) usleep(100000);
}
