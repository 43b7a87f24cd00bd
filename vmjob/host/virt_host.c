/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What this host offers to guests: KVM, and libvirt's networks for NAT. */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/kvm.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "vmjob/base/file.h"
#include "vmjob/host/network.h"
#include "vmjob/host/virt_private.h"
#include "vmjob/host/xml.h"

#define KVM_DEVICE "/dev/kvm"

/* The processor's own virtualisation. KVM also works without (kvm-pvm), but not for the firmware of
 * an ordinary guest, which then hangs. */
static bool cpu_virtualises(void)
{
	vmj_autofree char *text = NULL;
	const char *flags;
	size_t len;

	if (vmj_file_read(-1, "/proc/cpuinfo", 64 << 20, &text, NULL, NULL) < 0)
		return false;
	flags = strstr(text, "\nflags");
	if (!flags)
		return true; /* not x86: nothing to be seen here */
	len = strcspn(flags + 1, "\n") + 1;
	return memmem(flags, len, " vmx", 4) || memmem(flags, len, " svm", 4);
}

static bool makes_machines(void)
{
	vmj_autoclose int kvm = open(KVM_DEVICE, O_RDWR | O_CLOEXEC);
	vmj_autoclose int vm = kvm < 0 ? -1 : ioctl(kvm, KVM_CREATE_VM, 0);

	return vm >= 0;
}

static bool libvirt_offers(virConnectPtr c)
{
	char *caps = virConnectGetDomainCapabilities(c, NULL, "x86_64", "q35", "kvm", 0);

	free(caps);
	return caps;
}

int vmj_virt_has_kvm(struct vmj_virt *v, bool *ret, struct vmj_error *err)
{
	static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
	static enum { UNKNOWN, NO, YES } known;
	auto_conn virConnectPtr c = NULL;
	struct stat st;
	int rc = 0;

	pthread_mutex_lock(&lock);
	if (known == UNKNOWN)
		rc = vmj_virt_connection(v, &c, err);
	if (rc == 0 && known == UNKNOWN)
		known = cpu_virtualises() && makes_machines() && libvirt_offers(c) ? YES : NO;
	if (rc == 0 && known == YES && (stat(KVM_DEVICE, &st) < 0 || (st.st_mode & 06) != 06))
		rc = vmj_fail(err, EACCES,
			      KVM_DEVICE
			      " has mode %04o here, but QEMU runs as the job's user: give "
			      "it mode 0666, or hide it if guests are to be emulated",
			      (unsigned int)(st.st_mode & 07777));
	if (rc == 0)
		*ret = known == YES;
	pthread_mutex_unlock(&lock);
	return rc;
}

static void put_address(struct vmj_xml *x, const struct vmj_net_config *n)
{
	char address[INET_ADDRSTRLEN], netmask[INET_ADDRSTRLEN];
	struct in_addr mask = {.s_addr = htonl(~0u << (32 - n->prefix))};

	inet_ntop(AF_INET, &n->gateway, address, sizeof(address));
	inet_ntop(AF_INET, &mask, netmask, sizeof(netmask));
	vmj_xml_empty(x, "ip", "address", address, "netmask", netmask, NULL);
}

static int nat_xml(const struct vmj_net_config *n, char **ret, struct vmj_error *err)
{
	struct vmj_xml *x = vmj_xml_new();
	char bridge[16];
	int rc;

	if (!x)
		return vmj_fail(err, ENOMEM, "out of memory");
	vmj_xml_open(x, "network");
	vmj_xml_leaf(x, "name", "vmjob-%s", n->name);
	vmj_xml_empty(x, "forward", "mode", "nat", NULL);
	vmj_xml_empty(x, "bridge", "name", vmj_net_bridge(n, bridge), "stp", "off", "delay", "0",
		      NULL);
	if (n->prefix)
		put_address(x, n);
	vmj_xml_close(x);
	rc = vmj_xml_end(x, ret, err);
	vmj_xml_free(x);
	return rc;
}

int vmj_virt_ensure_nat(struct vmj_virt *v, const struct vmj_net_config *n, struct vmj_error *err)
{
	static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER; /* two guests' first use at once */
	auto_conn virConnectPtr c = NULL;
	vmj_autofree char *xml = NULL;
	char name[VMJ_NAME_MAX + 8];
	virNetworkPtr net;
	int rc = vmj_virt_connection(v, &c, err);

	if (rc == 0)
		rc = nat_xml(n, &xml, err);
	if (rc < 0)
		return rc;
	snprintf(name, sizeof(name), "vmjob-%s", n->name);
	pthread_mutex_lock(&lock);
	net = virNetworkLookupByName(c, name);
	if (net && virNetworkIsActive(net) == 0 && virNetworkCreate(net) < 0)
		rc = vmj_virt_fail(err, "cannot start network %s", name);
	if (!net && !(net = virNetworkCreateXML(c, xml)))
		rc = vmj_virt_fail(err, "cannot make network %s", name);
	pthread_mutex_unlock(&lock);
	if (net)
		virNetworkFree(net);
	return rc;
}
