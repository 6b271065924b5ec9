import ArgumentParser
import VMSyncServer
import VMSyncDevice
print("vmsync")
