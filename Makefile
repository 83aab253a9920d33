# SPDX-License-Identifier: BSD-3-Clause
#
# Briq's build: one file, not recursive. On a fresh Debian 12: `make demo`, `make check`.
#
# Targets
#   all            build/briq, build/nbdkit-briq-plugin.so and the man pages (the default)
#   deps           installs what building and testing need (root on Debian), else says how
#   check          everything below tests/ that `make check` runs, in parallel
#   check-quick    the unit tests alone
#   check-long     a million simulated crashes over ten thousand seeds, on all processors; the figures
#                  go to build/test-logs/sim-long.txt (SEED=N: the first seed); then check-canaries
#                  and check-kill
#   check-kill     kill -9 of nbdkit and of briq, in ROUNDS=N rounds each (600)
#   fuzz           every fuzz target, or TARGET=NAME, for RUNS=N executions each (10 million)
#   fuzz-corpus    makes tests/fuzz/corpus/*.tar anew, or that of TARGET=NAME, of what they hold and of
#                  what fuzz has found (with the same SAN)
#   check-asan     the same tests as `check` under the address and undefined sanitizers
#   check-tsan     the same tests as `check` under the thread sanitizer
#   check-guest    tests/guest/cases on a real kernel, in QEMU (no KVM needed)
#   check-qemu     tests/qemu: briq-vm and real guests, one machine at a time (minutes, no KVM needed)
#   deps-qemu      deps-guest and a small Debian on a disk image (as root)
#   deps-guest     installs what that needs and fetches its kernel, without installing it
#   check-canaries a deliberate bug at a time, and how many of 100 seeds find each of them
#   check-headers  every header compiles on its own
#   check-layers   includes point downward only
#   tidy           formatting, headers, layers, long functions, banned calls, cppcheck, shellcheck
#   format         applies .clang-format to every C file
#   cov            runs the tests and prints the line coverage of common/ by file, and of the store
#   bench-qemu     fio inside a guest on a raw file and on volumes, tuned and not (minutes)
#   bench-store    speed of the engine, as ratios inside one run
#   bench-nbd      speed of the NBD servers, side by side with others (BENCH_ARGS=--help)
#   bench-ublk     ublk devices beside the kernel's own, on the guest's kernel or GUEST=host; figures and
#                  bars met and missed (BENCH_ROUNDS=5, BENCH_MS=1000, BENCH_SIZE=64M)
#   demo           a real disk image: made, imported, served, compared
#   man            build/man/*.1
#   tests          builds the test programs and does not run them
#   install        into DESTDIR and PREFIX, the plugin into nbdkit's own directory; uninstall
#   clean          removes build/
#   help           prints this table
#
# Knobs
#   V=1                  show commands               WERROR=1         warnings are errors
#   SAN=address|thread|fuzz|fuzz-fast                build into build/$SAN; COV=1 into build/cov
#   TEST=GLOB            run the tests so named      SEED=N           repeat a random test
#   CASE=GLOB            the same for check-guest    GUEST=host       on this machine's kernel, as root
#   POINTS=N|all         flush points that check-guest replays of each file system (default: 12)
#   FAULT_STEP=N         tests/faults spoils one call in N (40; 1 with SAN=address)
#   GUEST_SUITE=SUITE    another kernel of Debian    GUEST_KERNEL=DIRECTORY   any other
#   JOBS=N               tests at a time             TIMEOUT=SECONDS  for each test
#   CC CPPFLAGS CFLAGS LDFLAGS LDLIBS                come after ours and are kept apart from them
#   PREFIX DESTDIR BINDIR MANDIR COMPLETIONDIR PLUGINDIR DATADIR
#
# Sources are found by wildcard, a directory at a time: a new file needs no line here.

VERSION := 0.1.0

SAN ?=
COV ?=
FLAVOUR := $(if $(COV),cov,$(SAN))
B := build$(if $(FLAVOUR),/$(FLAVOUR))

ifneq ($(filter-out address thread fuzz fuzz-fast,$(SAN)),)
$(error SAN=$(SAN) is not known: use SAN=address, thread, fuzz or fuzz-fast)
endif
# libFuzzer is a part of clang.
FUZZING := $(filter fuzz%,$(SAN))

PREFIX ?= /usr/local
BINDIR ?= $(PREFIX)/bin
MANDIR ?= $(PREFIX)/share/man
COMPLETIONDIR ?= $(PREFIX)/share/bash-completion/completions
# briq-vm finds its parts by where it lies itself: beside BINDIR.
DATADIR ?= $(PREFIX)/share/briq
PLUGINDIR ?= $(shell pkg-config --variable=plugindir nbdkit 2>/dev/null)

ifeq ($(origin CC),default)
CC := $(if $(FUZZING),clang,gcc)
endif
AR ?= ar
JOBS ?= $(shell nproc)
# One test more than there are processors: some wait for a timeout or for QEMU.
TEST_JOBS := $(if $(filter file,$(origin JOBS)),$(shell expr $(JOBS) + 1),$(JOBS))
Q := $(if $(V),,@)
say = $(if $(V),@:,@printf '  %-8s %s\n' $(1) $(2))
# A sub-make builds with all processors unless the caller has said how many.
SUBMAKE = $(MAKE) $(if $(filter -j% --jobserver%,$(MAKEFLAGS)),,-j$(JOBS)) --no-print-directory

# ---- flags ---------------------------------------------------------------------------------------

# Asked once, and only by a recipe that needs it: `make deps` comes before pkg-config is there.
PACKAGES := liblz4 libxxhash liburing libnbd nbdkit json-c gnutls cmocka
PC_CFLAGS = $(eval PC_CFLAGS := $$(shell pkg-config --cflags $(PACKAGES) 2>/dev/null))$(PC_CFLAGS)
PC_LIBS = $(eval PC_LIBS := $$(shell pkg-config --libs $(PACKAGES) 2>/dev/null))$(PC_LIBS)

SAN_FLAGS_address := -fsanitize=address,undefined -fno-sanitize-recover=all -fno-omit-frame-pointer
SAN_FLAGS_thread := -fsanitize=thread -fno-omit-frame-pointer
# Comparisons are not traced: checksums stand before most of them, and it costs a third of the speed.
# Smaller pools make opening a volume cheap, which is what most targets do; smaller pieces, copying.
FUZZ_FLAGS := -fsanitize=fuzzer-no-link -fno-sanitize-coverage=trace-cmp
FUZZ_FLAGS += -DBRIQ_IOBUF_COUNT=2u -DBRIQ_MAP_STRIPES=16u -DBRIQ_MAP_COPIES=64u \
	-DBRIQ_WINDOWS_MAX=64u -DBRIQ_PUMP_PIECE_BYTES=16384u
# So are small buffers of a connection, which besides are full sooner.
FUZZ_FLAGS += -DNBD_JOBS_MAX=8u -DNBD_RECV_BYTES=8192u -DNBD_IN_BYTES_MAX=16384u \
	-DNBD_PIECE_BYTES=16384u -DNBD_OUT_BYTES_MAX=65536u -DNBD_OUT_HELD_MAX=131072u \
	-DNBD_RANGE_STEP_BYTES=65536ul
SAN_FLAGS_fuzz := $(FUZZ_FLAGS) -fsanitize=address,undefined -fno-sanitize-recover=all \
	-fno-omit-frame-pointer
SAN_FLAGS_fuzz-fast := $(FUZZ_FLAGS)
FLAVOUR_FLAGS := $(SAN_FLAGS_$(SAN)) $(if $(COV),--coverage -O0)

BRIQ_WARNINGS := -Wall -Wextra -Wshadow -Wvla -Wstrict-prototypes -Wmissing-prototypes -Wundef \
	-Wcast-qual $(if $(WERROR),-Werror)
BRIQ_CFLAGS = -std=gnu17 -O2 -g -D_GNU_SOURCE -I. $(BRIQ_WARNINGS) -fPIC -fvisibility=hidden -pthread \
	-DBRIQ_VERSION='"$(VERSION)"' $(FLAVOUR_FLAGS) $(PC_CFLAGS)
BRIQ_LDFLAGS = -pthread -Wl,--as-needed $(FLAVOUR_FLAGS)

ALL_CFLAGS = $(BRIQ_CFLAGS) $(CPPFLAGS) $(CFLAGS)
LINK = $(CC) $(BRIQ_LDFLAGS) $(CFLAGS) $(LDFLAGS)
LINK_LIBS = $(PC_LIBS) $(LDLIBS)

# ---- what there is to build ----------------------------------------------------------------------

objects = $(patsubst %.c,$(B)/obj/%.o,$(1))
in_room = $(sort $(wildcard $(addsuffix /*.c,$(1))))

LIB_SRC := $(call in_room,common/base common/device common/store common/ring common/control common/exports server \
	ublk-frontend)
CLI_SRC := $(call in_room,cli)
PLUGIN_SRC := $(call in_room,nbdkit-plugin)
TESTLIB_SRC := $(call in_room,tests/lib)
UNIT_SRC := $(sort $(wildcard tests/unit/test_*.c))
MODEL_SRC := $(call in_room,tests/model)
SIM_SRC := $(call in_room,tests/sim)
FAULTS_SRC := $(call in_room,tests/faults)
# The programs among them; what else is there is linked into each.
FAULTS_MAIN := $(filter tests/faults/test_%,$(FAULTS_SRC))
STRESS_SRC := $(sort $(wildcard tests/stress/test_*.c))
BENCH_SRC := $(call in_room,tests/bench)
GUEST_SRC := $(call in_room,tests/guest/tools)
FUZZ_SRC := $(sort $(wildcard tests/fuzz/fuzz_*.c))
FUZZ_SUPPORT_SRC := $(call in_room,tests/fuzz/support)
CRASH_SRC := $(sort $(wildcard tests/crash/kill_*.c))
CRASH_SUPPORT_SRC := $(call in_room,tests/crash/support)
ALL_SRC := $(LIB_SRC) $(CLI_SRC) $(PLUGIN_SRC) $(TESTLIB_SRC) $(UNIT_SRC) $(MODEL_SRC) $(SIM_SRC) \
	$(STRESS_SRC) $(FAULTS_SRC) $(BENCH_SRC) $(GUEST_SRC) $(FUZZ_SRC) $(FUZZ_SUPPORT_SRC) \
	$(CRASH_SRC) $(CRASH_SUPPORT_SRC)

LIB := $(B)/libbriq.a
# The verbs without main(), so that a unit test can link what it tests.
CLI_LIB := $(if $(CLI_SRC),$(B)/libbriq-cli.a)
TESTLIB := $(if $(TESTLIB_SRC),$(B)/libbriq-test.a)
# The simulator without main(): its parts are tested, and it is linked with other stores too.
SIM_LIB := $(if $(SIM_SRC),$(B)/libbriq-sim.a)
BRIQ := $(if $(CLI_SRC),$(B)/briq)
PLUGIN := $(if $(PLUGIN_SRC),$(B)/nbdkit-briq-plugin.so)
PLUGIN_POD := $(wildcard nbdkit-plugin/nbdkit-briq-plugin.pod)
PLUGIN_HELP := $(if $(PLUGIN_POD),$(B)/gen/plugin_help.h)
BRIQ_VM_SRC := $(sort $(wildcard qemu/briqvm/*.py))
MAN := $(if $(BRIQ),$(B)/man/briq.1) $(if $(PLUGIN_POD),$(B)/man/nbdkit-briq-plugin.1) \
	$(if $(BRIQ_VM_SRC),$(B)/man/briq-vm.1)
UNIT := $(patsubst tests/%.c,$(B)/tests/%,$(UNIT_SRC))
MODEL := $(if $(MODEL_SRC),$(B)/tests/model/model)
SIM := $(if $(SIM_SRC),$(B)/tests/sim/sim)
FAULTS := $(patsubst tests/%.c,$(B)/tests/%,$(FAULTS_MAIN))
STRESS := $(patsubst tests/%.c,$(B)/tests/%,$(STRESS_SRC))
BENCH := $(patsubst tests/%.c,$(B)/tests/%,$(BENCH_SRC))
GUEST_TOOLS := $(patsubst tests/%.c,$(B)/tests/%,$(GUEST_SRC))
GUEST_PRELOAD := $(patsubst tests/guest/preload/%.c,$(B)/tests/guest/%.so,$(wildcard tests/guest/preload/*.c))
FUZZ := $(patsubst tests/%.c,$(B)/tests/%,$(FUZZ_SRC))
CRASH := $(patsubst tests/%.c,$(B)/tests/%,$(CRASH_SRC))
CRASH_PRELOAD := $(if $(CRASH),$(B)/tests/crash/fuse_preload.so)
TEST_PROGRAMS := $(UNIT) $(MODEL) $(SIM) $(STRESS) $(FAULTS) $(BENCH) $(GUEST_TOOLS) $(FUZZ) $(CRASH)

UNIT_SCRIPTS := $(sort $(wildcard tests/unit/*.sh))
QEMU_TESTS := $(sort $(wildcard tests/qemu/*.py))
TEST_SCRIPTS := $(sort $(wildcard tests/model/*.sh tests/interop/*.sh tests/hostile/*.sh tests/crash/*.sh))
QUICK := $(UNIT) $(UNIT_SCRIPTS)
# The model program runs by itself unless a script beside it says how.
# The loops over faults have one thread: nothing for the thread sanitizer, and hours of it.
CHECK := $(QUICK) $(if $(wildcard tests/model/*.sh),,$(MODEL)) $(SIM) $(STRESS) \
	$(if $(filter thread,$(SAN)),,$(FAULTS)) $(FUZZ) $(CRASH) \
	$(TEST_SCRIPTS) $(wildcard tests/canary/every-canary-is-caught)

.PHONY: all deps deps-dev tests check check-quick check-run check-quick-run check-long
.PHONY: check-long-run check-canaries check-asan check-tsan
.PHONY: deps-guest check-guest check-guest-run
.PHONY: check-headers check-layers tidy tidy-run format cov bench-store demo man install uninstall
.PHONY: clean help FORCE
.DELETE_ON_ERROR:
.SECONDARY:

all: $(LIB) $(BRIQ) $(PLUGIN) $(B)/bin/nbdkit $(B)/bin/briq-vm $(if $(SAN),$(B)/nbdkit-preload.so) man

tests: all $(TEST_PROGRAMS) $(CRASH_PRELOAD) $(GUEST_PRELOAD)

# ---- compile and link ----------------------------------------------------------------------------

# Rewritten only when it changes: another compiler or flag rebuilds, another time does not.
$(B)/flags: FORCE
	@command -v pkg-config >/dev/null && pkg-config --print-errors --exists $(PACKAGES) || \
		{ echo "a library is missing: run 'make deps'" >&2; exit 2; }
	@mkdir -p $(@D)
	@printf '%s\n' $(call quoted,$(CC) $(ALL_CFLAGS) : $(BRIQ_LDFLAGS) $(LDFLAGS) $(LINK_LIBS)) >$@.new
	@cmp -s $@.new $@ && rm $@.new || mv $@.new $@
quoted = '$(subst ','\'',$(1))'

# The same for the lists of files: a source that went away must leave its archive too.
$(B)/sources: FORCE
	@mkdir -p $(@D)
	@printf '%s\n' '$(ALL_SRC)' >$@.new
	@cmp -s $@.new $@ && rm $@.new || mv $@.new $@

$(B)/obj/%.o: %.c $(B)/flags
	$(call say,CC,$<)
	@mkdir -p $(@D)
	$(Q)$(CC) $(ALL_CFLAGS) $(EXTRA_CFLAGS) -MMD -MP -c $< -o $@

define archive
	$(call say,AR,$@)
	@rm -f $@
	$(Q)$(AR) rcs $@ $(filter %.o,$^)
endef

define link
	$(call say,LINK,$@)
	@mkdir -p $(@D)
	$(Q)$(LINK) $(1) -o $@ $(filter %.o,$^) $(filter %.a,$^) $(LINK_LIBS)
endef

$(LIB): $(call objects,$(LIB_SRC)) $(B)/sources
	$(archive)
$(CLI_LIB): $(call objects,$(filter-out cli/main.c,$(CLI_SRC))) $(B)/sources
	$(archive)
$(TESTLIB): $(call objects,$(TESTLIB_SRC)) $(B)/sources
	$(archive)

$(SIM_LIB): $(call objects,$(filter-out tests/sim/main.c,$(SIM_SRC))) $(B)/sources
	$(archive)

$(BRIQ): $(call objects,$(CLI_SRC)) $(LIB)
	$(call link)

# The plugin exports plugin_init and nothing else; nbdkit itself provides what it leaves undefined.
$(PLUGIN): $(call objects,$(PLUGIN_SRC)) $(LIB) nbdkit-plugin/plugin.syms
	$(call link,-shared -Wl$(comma)--version-script=nbdkit-plugin/plugin.syms)
	@! nm -u $@ | grep -w 'U briq_.*' || { rm $@; echo "$@: undefined symbols" >&2; exit 1; }
comma := ,

$(call objects,$(PLUGIN_SRC)): $(PLUGIN_HELP)
$(call objects,$(PLUGIN_SRC)): EXTRA_CFLAGS := -I$(B)/gen

$(UNIT) $(STRESS): $(B)/tests/%: $(B)/obj/tests/%.o $(SIM_LIB) $(TESTLIB) $(CLI_LIB) $(LIB)
	$(call link,$(UNIT_WRAP:%=-Wl$(comma)--wrap=%))
$(B)/tests/unit/test_interleavings: UNIT_WRAP := briq_space_live_sub briq_waitq_wait pthread_mutex_lock
$(MODEL): $(call objects,$(MODEL_SRC)) $(TESTLIB) $(LIB)
	$(call link)
$(SIM): $(B)/obj/tests/sim/main.o $(SIM_LIB) $(TESTLIB) $(LIB)
	$(call link)
# Every call that can fail goes through tests/faults/seam.c; in these programs, and in no others.
FAULTS_WRAP := pread pwrite fdatasync fsync fallocate posix_fallocate open fstat ftruncate mmap \
	malloc calloc realloc aligned_alloc posix_memalign strdup pthread_create
$(FAULTS): $(B)/tests/%: $(B)/obj/tests/%.o $(call objects,$(filter-out $(FAULTS_MAIN),$(FAULTS_SRC))) \
		$(TESTLIB) $(LIB)
	$(call link,$(FAULTS_WRAP:%=-Wl$(comma)--wrap=%))
$(BENCH): $(B)/tests/%: $(B)/obj/tests/%.o $(LIB)
	$(call link)
$(GUEST_TOOLS): $(B)/tests/%: $(B)/obj/tests/%.o $(LIB)
	$(call link)

$(CRASH): $(B)/tests/%: $(B)/obj/tests/%.o $(call objects,$(CRASH_SUPPORT_SRC)) $(TESTLIB) $(LIB)
	$(call link)
# Not instrumented: it is loaded into programs that are not.
define preload
	$(call say,LINK,$@)
	@mkdir -p $(@D)
	$(Q)$(CC) -std=gnu17 -O2 -D_GNU_SOURCE -I. -shared -fPIC $(BRIQ_WARNINGS) $(CFLAGS) $(LDFLAGS) -o $@ $<
endef
$(CRASH_PRELOAD): tests/crash/preload/fuse_preload.c tests/crash/support/fuse.h $(B)/flags
	$(preload)
$(GUEST_PRELOAD): $(B)/tests/guest/%.so: tests/guest/preload/%.c ublk-frontend/uapi.h $(B)/flags
	$(preload)

# The corpus of each target: one archive in the tree, unpacked beside the program.
FUZZ_CORPORA := $(patsubst tests/fuzz/fuzz_%.c,$(B)/tests/fuzz/corpus/%.unpacked,$(FUZZ_SRC))
$(FUZZ_CORPORA): $(B)/tests/fuzz/corpus/%.unpacked: tests/fuzz/corpus/%.tar
	@rm -rf $(@:.unpacked=) && mkdir -p $(@:.unpacked=)
	@tar -xf $< -C $(@:.unpacked=) && touch $@
$(FUZZ): $(B)/tests/fuzz/fuzz_%: | $(B)/tests/fuzz/corpus/%.unpacked

# What runs a target: libFuzzer, or, with any other compiler, a replay of its corpus.
FUZZ_DRIVER := $(if $(FUZZING),,tests/fuzz/support/replay.c)
$(FUZZ): $(B)/tests/%: $(B)/obj/tests/%.o \
		$(call objects,$(filter-out %/replay.c,$(FUZZ_SUPPORT_SRC)) $(FUZZ_DRIVER)) \
		$(TESTLIB) $(CLI_LIB) $(LIB)
	$(call link,$(if $(FUZZING),-fsanitize=fuzzer) $(FUZZ_WRAP:%=-Wl$(comma)--wrap=%))
$(B)/tests/fuzz/fuzz_import: FUZZ_WRAP := pthread_create pthread_join
$(B)/tests/fuzz/fuzz_nbd: FUZZ_WRAP := $(addprefix briq_tls_,open close handshake decrypt encrypt \
	has_rest bye peer)
$(B)/tests/fuzz/fuzz_options: $(call objects,nbdkit-plugin/params.c nbdkit-plugin/server_args.c)

# An nbdkit that finds the plugin of this tree under its short name; see ./run.
$(B)/bin/nbdkit: scripts/nbdkit-in-tree
	@mkdir -p $(@D)
	@ln -sf $(CURDIR)/$< $@

$(B)/bin/briq-vm: qemu/briq-vm
	@mkdir -p $(@D)
	@ln -sf $(CURDIR)/$< $@

$(B)/nbdkit-preload.so: tests/lib/preload/nbdkit_preload.c $(B)/flags
	$(call say,LINK,$@)
	$(Q)$(CC) -shared -fPIC $(BRIQ_WARNINGS) $(CFLAGS) $(LDFLAGS) -o $@ $<

-include $(patsubst %.o,%.d,$(call objects,$(ALL_SRC)))

# ---- documents -----------------------------------------------------------------------------------

man: $(MAN)

# The program prints its own page, from the tables that parse its options.
$(B)/man/briq.1: $(BRIQ)
	$(call say,MAN,$@)
	@mkdir -p $(@D) && ln -sfn . $(@D)/man1
	$(Q)BRIQ_BUILD=$(B) ./run briq help --man >$@

# So does this one.
$(B)/man/briq-vm.1: qemu/briq-vm $(BRIQ_VM_SRC) $(BRIQ)
	$(call say,MAN,$@)
	@mkdir -p $(@D) && ln -sfn . $(@D)/man1
	$(Q)BRIQ_BUILD=$(B) ./run qemu/briq-vm help --man >$@

$(B)/man/nbdkit-briq-plugin.1: $(PLUGIN_POD)
	$(call say,MAN,$@)
	@mkdir -p $(@D) && ln -sfn . $(@D)/man1
	$(Q)pod2man --utf8 --section=1 --name=nbdkit-briq-plugin --center=Briq \
		--release='briq $(VERSION)' --date='$(RELEASE_DATE)' $< $@
# Of the last commit, not of the day: the same sources make the same page.
RELEASE_DATE = $(or $(shell git log -1 --format=%cs 2>/dev/null),$(shell date -r Makefile +%F))

$(PLUGIN_HELP): $(PLUGIN_POD) scripts/pod-to-c
	@mkdir -p $(@D)
	$(Q)scripts/pod-to-c $< >$@

help:
	@sed -n '/^# Targets/,/^$$/s/^# \{0,1\}//p' Makefile

# ---- dependencies --------------------------------------------------------------------------------

deps:
	@scripts/deps build test
deps-dev:
	@scripts/deps build test dev
deps-guest:
	@scripts/deps build test guest
	@$(GUEST_ENV) tests/guest/fetch-kernel

# ---- tests ---------------------------------------------------------------------------------------

# The loops over faults spoil every call under the address sanitizer, and elsewhere a sample.
FAULT_STEP := $(if $(filter address,$(SAN)),1,40)
RUN_TESTS = BRIQ_BUILD=$(B) BRIQ_SEED='$(SEED)' BRIQ_FAULT_STEP=$(FAULT_STEP) tests/lib/run-tests --jobs $(TEST_JOBS) \
	$(if $(TEST),--only '$(TEST)') $(if $(TIMEOUT),--timeout $(TIMEOUT))

check: deps
	@$(SUBMAKE) check-run
check-run: tests
	@$(RUN_TESTS) $(CHECK)

check-quick:
	@$(SUBMAKE) check-quick-run
check-quick-run: all $(UNIT)
	@$(RUN_TESTS) $(QUICK)

LONG_SEEDS := 10000
LONG_CRASHES := 101
LONG_LOG := $(B)/test-logs/sim-long.txt
check-long:
	@$(SUBMAKE) check-long-run
	@$(SUBMAKE) check-canaries
	@$(SUBMAKE) check-kill
check-long-run: $(SIM)
	@mkdir -p $(@D) $(B)/test-logs
	@first=$(or $(SEED),1); { ./run $(SIM) --seeds $$first..$$((first + $(LONG_SEEDS) - 1)) \
		--crashes $(LONG_CRASHES) --jobs $(JOBS); echo "exit status $$?"; } 2>&1 | tee $(LONG_LOG)
	@tail -n 1 $(LONG_LOG) | grep -qx 'exit status 0'

check-asan:
	@$(MAKE) --no-print-directory check SAN=address
check-tsan:
	@$(MAKE) --no-print-directory check SAN=thread

deps-qemu: deps-guest
	@scripts/deps qemu
	@$(GUEST_ENV) tests/qemu/fetch-debian
# One at a time: each has a machine, which on a busy host needs a processor for itself.
check-qemu: deps-qemu
	@$(SUBMAKE) check-qemu-run
check-qemu-run: all
	@$(GUEST_ENV) $(RUN_TESTS) --jobs 1 $(QEMU_TESTS)
.PHONY: deps-qemu check-qemu check-qemu-run

# Which kernel the guest boots, see tests/guest/fetch-kernel.
GUEST_ENV = $(foreach name,GUEST_KERNEL GUEST_SUITE GUEST_PACKAGE GUEST_CACHE GUEST_CPUS,$(if $($(name)),$(name)='$($(name))'))

check-guest: $(if $(filter host,$(GUEST)),deps,deps-guest)
	@$(SUBMAKE) check-guest-run
check-guest-run: all $(GUEST_TOOLS) $(GUEST_PRELOAD)
	@$(GUEST_ENV) BRIQ_BUILD=$(B) BRIQ_SEED='$(SEED)' GUEST_POINTS='$(POINTS)' tests/guest/run-guest \
		--jobs $(JOBS) $(if $(CASE),--only '$(CASE)') $(if $(TIMEOUT),--timeout $(TIMEOUT)) \
		$(if $(filter host,$(GUEST)),--host)
check-canaries: tests
	@./run tests/canary/every-canary-is-caught --seeds 100
check-kill: tests
	@ROUNDS=$(or $(ROUNDS),600) BRIQ_SEED='$(SEED)' BRIQ_BUILD=$(B) ./run $(B)/tests/crash/kill_server
	@ROUNDS=$(or $(ROUNDS),600) BRIQ_SEED='$(SEED)' BRIQ_BUILD=$(B) ./run $(B)/tests/crash/kill_verb
.PHONY: check-kill

RUNS ?= 10000000
fuzz: deps-dev
	@$(SUBMAKE) fuzz-run SAN=$(or $(FUZZING),fuzz)
fuzz-run: $(FUZZ)
	@BRIQ_BUILD=$(B) tests/fuzz/run-fuzz --jobs $(JOBS) --runs $(RUNS) $(TARGET)
# What was found counts from then on: a few inputs that reach all that was reached.
fuzz-corpus: deps-dev
	@$(SUBMAKE) fuzz-corpus-run SAN=$(or $(FUZZING),fuzz)
fuzz-corpus-run: $(FUZZ)
	@BRIQ_BUILD=$(B) tests/fuzz/run-fuzz --merge $(TARGET)
.PHONY: fuzz fuzz-run fuzz-corpus fuzz-corpus-run

bench-qemu: deps-qemu
	@$(SUBMAKE) all
	@$(GUEST_ENV) BRIQ_BUILD=$(B) ./run qemu/bench --json $(B)/bench-qemu.json
.PHONY: bench-qemu

bench-store: all
	@./run briq bench store
bench-nbd: deps-dev
	@$(SUBMAKE) bench-nbd-run
bench-nbd-run: all $(BENCH)
	@./run tests/bench/nbd.py $(BENCH_ARGS)
.PHONY: bench-nbd bench-nbd-run
bench-ublk: $(if $(filter host,$(GUEST)),deps,deps-guest)
	@$(SUBMAKE) bench-ublk-run
bench-ublk-run: all $(GUEST_TOOLS)
	@$(GUEST_ENV) BRIQ_BUILD=$(B) BENCH_ROUNDS='$(BENCH_ROUNDS)' BENCH_MS='$(BENCH_MS)' \
		BENCH_SIZE='$(BENCH_SIZE)' tests/guest/run-guest --bench --jobs 1 --only ublk \
		$(if $(filter host,$(GUEST)),--host)
.PHONY: bench-ublk bench-ublk-run

cov: deps-dev
	@$(SUBMAKE) cov-run COV=1
cov-run:
	@find $(B) -name '*.gcda' -delete 2>/dev/null || true
	-@$(MAKE) --no-print-directory check-run COV=1
	@gcovr --root . --filter common/ --object-directory $(B)/obj $(B)/obj
	@gcovr --root . --filter common/store/ --object-directory $(B)/obj $(B)/obj | \
		awk '$$1 == "TOTAL" { print "common/store: " $$4 " of " $$2 " lines" }'
.PHONY: cov-run

demo:
	@demo/demo.sh

# ---- lint ----------------------------------------------------------------------------------------

C_FILES = $(shell git ls-files '*.c' '*.h' 2>/dev/null || find . -name '*.[ch]')
H_FILES = $(filter %.h,$(C_FILES))

check-headers: $(B)/flags
	@scripts/check-headers "$(CC) $(call shell_safe,$(ALL_CFLAGS))" $(H_FILES)
shell_safe = $(subst ",\",$(1))

check-layers:
	@tests/lib/check-layers

tidy: deps-dev
	@$(SUBMAKE) tidy-run
tidy-run: check-headers
	@scripts/tidy

format:
	$(Q)clang-format -i $(C_FILES)

# ---- install -------------------------------------------------------------------------------------

install: all
	install -D -m 755 $(B)/briq $(DESTDIR)$(BINDIR)/briq
	install -D -m 755 $(B)/nbdkit-briq-plugin.so $(DESTDIR)$(PLUGINDIR)/nbdkit-briq-plugin.so
	install -D -m 644 $(B)/man/briq.1 $(DESTDIR)$(MANDIR)/man1/briq.1
	install -D -m 644 $(B)/man/nbdkit-briq-plugin.1 $(DESTDIR)$(MANDIR)/man1/nbdkit-briq-plugin.1
	install -D -m 644 ublk-frontend/60-briq-ublk.rules $(DESTDIR)$(DATADIR)/60-briq-ublk.rules
	install -D -m 644 cli/briq.bash $(DESTDIR)$(COMPLETIONDIR)/briq
	install -D -m 755 qemu/briq-vm $(DESTDIR)$(BINDIR)/briq-vm
	install -D -m 644 -t $(DESTDIR)$(DATADIR)/briqvm $(BRIQ_VM_SRC)
	install -D -m 644 $(B)/man/briq-vm.1 $(DESTDIR)$(MANDIR)/man1/briq-vm.1
	ln -sf briq $(DESTDIR)$(COMPLETIONDIR)/briq-vm

uninstall:
	rm -f $(DESTDIR)$(BINDIR)/briq
	rm -f $(DESTDIR)$(PLUGINDIR)/nbdkit-briq-plugin.so
	rm -f $(DESTDIR)$(MANDIR)/man1/briq.1 $(DESTDIR)$(MANDIR)/man1/nbdkit-briq-plugin.1
	rm -f $(DESTDIR)$(COMPLETIONDIR)/briq
	rm -f $(DESTDIR)$(BINDIR)/briq-vm $(DESTDIR)$(MANDIR)/man1/briq-vm.1
	rm -f $(DESTDIR)$(COMPLETIONDIR)/briq-vm
	rm -rf $(DESTDIR)$(DATADIR)/briqvm
	rm -f $(DESTDIR)$(DATADIR)/60-briq-ublk.rules

clean:
	rm -rf build
